-- A relay asks which ids were handed out, to pass over what was sent long ago.
GRANT SELECT ON SEQUENCE outbox_id_seq TO marketplace_worker_app;
