-- A value that is too large is not kept: the row says how large it was, and where it stands in Kafka.
ALTER TABLE dead_letters
    ADD COLUMN left_out_bytes bigint,
    ADD CONSTRAINT what_is_left_out_is_not_kept CHECK (left_out_bytes IS NULL OR value IS NULL);
