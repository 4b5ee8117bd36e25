"""What each line of the log means, and each of its fields; docs/logs.md is made of it.

Levels and fields of a line stand where it is written.  A test compares both.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogLine:
    """The meaning of a line, and the heading of docs/runbook.md that says what to do; None: nothing
    is to be done.  `others`: fields that the code does not give by name.
    """

    meaning: str
    runbook: str | None = None
    others: tuple[str, ...] = ()


_DECISIONS = "Decisions"
_PROBES = "Probes and exit status"
_POSTGRES = "Postgres"
_KAFKA = "Kafka"
_UNREADABLE = "Unreadable records"

_FACT = (
    *("id", "kind", "organization", "organizations", "outcome", "position"),
    *("subscription", "notification", "trace_id"),
)
_WORKER_EVENT = ("type", "sequence", "causation_id", "correlation_id", "trace_id")
_EVENT = (*_WORKER_EVENT, "organization")
_MESSAGE = ("outbox_id", "topic", "bytes", "key", "position")

LINES = {
    # One customer: every event that is published has one line, in order
    "fact_decided": LogLine(
        "A notification of a marketplace, or a change that a service of the vendor reported, was "
        "decided on. The lines of its events follow.",
        others=_FACT,
    ),
    "event_decided": LogLine(
        "An event was decided that has no other line; it will be published.", others=_EVENT
    ),
    "organization_moved": LogLine(
        "An organization entered a state. At level warning its plan type is unknown, so that it "
        "has the longest timeline.",
        _DECISIONS,
        others=(*_EVENT, "odd"),
    ),
    "reinstatement_pending": LogLine("A reinstatement waits to be completed.", others=_EVENT),
    "reinstatement_lapsed": LogLine(
        "A reinstatement that waited was not completed in time.", others=_EVENT
    ),
    "support_request_answered": LogLine(
        "A request of Support was completed or refused.", others=_EVENT
    ),
    "subscription_moved": LogLine(
        "A link took a subscription from another organization.", _UNREADABLE
    ),
    "link_needs_attention": LogLine(
        "A link names another billing account than the marketplace.", _UNREADABLE
    ),
    "notification_needs_attention": LogLine(
        "A notification says something that a person should look at. Instead of `fact_decided`.",
        _UNREADABLE,
        others=_FACT,
    ),
    "billing_account_crowded": LogLine(
        "A billing account belongs to so many organizations that it proves nothing any more.",
        _UNREADABLE,
    ),
    "identity_repeated_with_other_content": LogLine(
        "A message came with an id that was used before, but with other content. It was ignored.",
        _UNREADABLE,
    ),
    "type_unrecognized": LogLine(
        "A message has a type that the worker does not know. At level info it is a marketplace's "
        "own, which concerns no subscription.",
        _UNREADABLE,
        others=("trace_id",),
    ),
    # All customers
    "guard_tripped": LogLine(
        "The guard withholds steps, or refuses requested deactivations.",
        "Releasing the guard",
        others=_WORKER_EVENT,
    ),
    "guard_released": LogLine("An operator released the guard.", others=_WORKER_EVENT),
    "many_organizations_canceled": LogLine(
        "More organizations were canceled within an hour than the guard lets be suspended. Nothing "
        "is withheld yet.",
        _DECISIONS,
    ),
    "activity_feed_silent": LogLine(
        "A feed had too few messages on a day to decide on inactivity.",
        _DECISIONS,
        others=_WORKER_EVENT,
    ),
    "activity_feed_unreadable": LogLine(
        "Unreadable logins or API usage may be use of an organization; its deactivation for "
        "inactivity waits.",
        _DECISIONS,
        others=_WORKER_EVENT,
    ),
    "deadline_failed": LogLine(
        "A due step of some organizations failed; each is tried again after an hour.", _DECISIONS
    ),
    "clock_moved": LogLine(
        "The database's clock jumped against this machine's; the guard is tripped if it went "
        "ahead.",
        "Wrong clocks",
    ),
    "database_set_back": LogLine(
        "The database holds less than was published, after a restore or a failover.",
        "After a restore, or a failover that lost commits",
    ),
    "published_compared": LogLine(
        "After a start of Postgres, the database was compared with what was published: nothing is "
        "missing."
    ),
    "policy_registered": LogLine("The worker's policy is in force."),
    # The flow
    "batch_ingested": LogLine("A batch of records was applied."),
    "deadlines_fired": LogLine("Due steps of a batch of organizations were taken."),
    "batch_relayed": LogLine("Messages of the outbox were sent to Kafka."),
    "batch_retired": LogLine("Old rows were deleted."),
    "state_counts_corrected": LogLine(
        "The numbers of organizations by state were wrong by so many, and were corrected.",
        others=("active", "canceled", "control_plane_loss", "suspended", "deactivated"),
    ),
    "batch_given_back": LogLine(
        "A batch was rolled back because of Postgres, and will be read again.", _POSTGRES
    ),
    "batch_failed": LogLine("A batch failed because of a bug, and is tried again.", _PROBES),
    "batch_taken_in_parts": LogLine(
        "A batch took too long, and is applied in smaller ones.", _POSTGRES
    ),
    "batch_given_up": LogLine("A stop rolled a batch back; it will be read again.", _PROBES),
    "step_given_up": LogLine("A stop rolled a step back; it will be done again.", _PROBES),
    "ingest_waiting": LogLine("Reading waits for a server, and tries again.", _KAFKA),
    "loop_waiting": LogLine("A loop waits for a server, and tries again.", _PROBES),
    "loop_failed": LogLine("A loop failed because of a bug, and tries again.", _PROBES),
    "loop_hangs": LogLine("A loop is silent for too long; the worker exits.", _PROBES),
    # Records
    "record_refused": LogLine(
        "A record could not be read. It is kept as a dead letter.", _UNREADABLE
    ),
    "record_failed": LogLine(
        "The worker failed on a record because of a bug. It is kept as a dead letter.",
        _UNREADABLE,
    ),
    "records_unreadable": LogLine(
        "Kafka's own form of some records cannot be read; they are skipped.", _KAFKA
    ),
    "records_left_out": LogLine(
        "A batch of records is too large or damaged, and is skipped.", _UNREADABLE
    ),
    "intake_stopped": LogLine(
        "Reading of a topic is stopped: too many of its records were refused.", "Resuming a topic"
    ),
    "dead_letters_redriven": LogLine(
        "An operator had dead letters processed again.",
        others=("redriven", "refused", "failed", "left"),
    ),
    "dead_letters_discarded": LogLine("An operator discarded dead letters."),
    "message_refused": LogLine(
        "Kafka refused a message of ours; later ones of its key wait.",
        "Refused messages",
        others=_MESSAGE,
    ),
    "refused_message_sent": LogLine("A message that Kafka had refused was sent.", others=_MESSAGE),
    # Kafka
    "partitions_assigned": LogLine("A consumer got partitions."),
    "partitions_revoked": LogLine("A consumer gave partitions up."),
    "position_jumped": LogLine(
        "Reading of a partition did not continue where it stopped.", "Jumped positions"
    ),
    "hand_over_timed_out": LogLine(
        "A batch did not end in time before its partitions moved to another consumer.",
        _KAFKA,
    ),
    "topics_changed": LogLine("A consumer reads other topics than before.", _KAFKA),
    "topic_not_allowed": LogLine("Kafka does not let us read a topic.", _KAFKA),
    "topic_settings_doubtful": LogLine("A topic is set up so that records may be lost.", _KAFKA),
    "topic_settings_unread": LogLine("Kafka does not let us read how a topic is set up."),
    "consumer_error": LogLine("A consumer failed; the worker exits or renews it.", _KAFKA),
    "consumer_renewed": LogLine("A consumer was replaced by a new one.", _KAFKA),
    "consumer_cut_off": LogLine("A consumer was closed without Kafka's answer.", _PROBES),
    "fetch_failed": LogLine("A request for records failed, and is made again.", _KAFKA),
    "commit_failed": LogLine(
        "Kafka did not store how far we have read; records may come again.", _KAFKA
    ),
    "group_left_amid_a_rebalance": LogLine("A consumer left its group during a rebalance."),
    "group_not_left": LogLine(
        "A consumer could not leave its group; its partitions wait for the session to end.", _KAFKA
    ),
    "producer_started": LogLine("The producer is ready."),
    "producer_given_up": LogLine(
        "Kafka did not acknowledge all messages in time; they stay in the outbox, and are sent by "
        "another producer.",
        _KAFKA,
    ),
    # The process
    "worker_started": LogLine("The worker works."),
    "worker_ready": LogLine("`/readyz` answers 200."),
    "worker_not_ready": LogLine(
        "`/readyz` answers 503, for these reasons; again when they change. At level info it has "
        "not been ready since its start.",
        _PROBES,
    ),
    "worker_stopping": LogLine("The worker was asked to stop."),
    "worker_stopped": LogLine("The worker stopped."),
    "embedded_servers_started": LogLine("The servers of `run --embedded` answer."),
    "credentials_renewed": LogLine("A file with credentials or certificates changed, and is used."),
    "retention_stopped": LogLine("Old rows are not deleted.", _DECISIONS),
    "probe_failed": LogLine("A request of a probe failed because of a bug.", _PROBES),
    "log_lines_dropped": LogLine("Nobody read the log in time.", _PROBES),
    "library_logged": LogLine("A library says so; at most five times a minute.", _KAFKA),
    # The console
    "console_started": LogLine("The console can be visited."),
    "console_stopped": LogLine("The console stopped."),
    "console_signed_in": LogLine("Somebody signed in."),
    "console_sign_in_refused": LogLine("Somebody could not sign in.", _PROBES),
    "organization_viewed": LogLine("Somebody looked at an organization."),
    "dead_letter_viewed": LogLine("Somebody looked at a dead letter."),
    "console_page_failed": LogLine("A page failed because of a bug.", _PROBES),
    "console_sample_failed": LogLine("A figure of the console could not be read.", _POSTGRES),
}

FIELDS = {
    "activity": "number of logins and API requests counted",
    "active": "by how many the number was wrong",
    "control_plane_loss": "by how many the number was wrong",
    "deactivated": "by how many the number was wrong",
    "suspended": "by how many the number was wrong",
    "key": "key of the message: an organization's id",
    "outbox_id": "row of the outbox",
    "redriven": "number of dead letters that took effect",
    "added": "topics that are new",
    "added_to": "id of the `guard.tripped` that this one adds to",
    "address": "where the console listens",
    "ahead_s": "by how much the database's clock is ahead, in seconds",
    "asked": "number of dead letters that were chosen",
    "attention": "why somebody should look",
    "billing_account": "of the marketplace",
    "by_clock": "true: because the database's clock jumped",
    "by_operator": "true: an operator did it",
    "bytes": "size",
    "canceled": "number of organizations in the hour; or by how many it was wrong",
    "causation_id": "id of the message, deadline or command that caused it",
    "cause": "`deleted`, `skipped` or `cut_off`",
    "client": "`postgres` or `producer`",
    "change": "what the notification changes, in our words (`lifecycle/notes.py`)",
    "clock_at": "what the database's clock says",
    "code": "why a request was refused",
    "completed": "true: done; false: refused",
    "completed_by": "what completes it: a login, a use, or Support",
    "consumer": "which member of which group, such as `facts-1`",
    "correlation_id": "the same in all that follows from one cancellation",
    "counted": "number in the hour",
    "day": "UTC day",
    "dead_letter": "its id",
    "dead_letters": "number of records refused, or of dead letters deleted",
    "discarded": "number of dead letters",
    "do": "command to type",
    "duplicates": "number of messages that had been applied before",
    "effective_at": "when the transition was due",
    "events": "number of events",
    "exception": "traceback",
    "failed": "number of messages not sent, or of dead letters that failed again",
    "failures": "number of failures in a row",
    "feed": "`logins` or `api_requests`",
    "field": "field of the record that is wrong",
    "first": "position of the first record, or first organization",
    "from_offset": "first offset concerned",
    "group": "consumer group",
    "guard": "`steps`, `requests` or `both`",
    "id": "id of the message; an event's `causation_id` names it",
    "idempotent": "true: Kafka drops what a retry repeats",
    "kafka": "address of the broker",
    "kind": "`notified`, or the type of the message",
    "lag_ms": "how long ago the oldest record was written, in milliseconds",
    "last_heard_at": "when the feed's last record happened",
    "late_s": "time from `effective_at` to the decision, in seconds",
    "left": "topics that are gone, or number of dead letters left alone",
    "limit": "number allowed in an hour",
    "lines": "number of lines",
    "logger": "module of the library",
    "loop": "which loop",
    "loops": "loops of this worker",
    "marketplace": "`aws`, `gcp` or `azure`",
    "meaning": "whether they still count as possible use",
    "message": "a library's sentence",
    "messages": "number of messages",
    "notification": "kind of the notification",
    "odd": "what is unusual",
    "organization": "id",
    "organizations": "number of organizations; or their ids, where there are several",
    "organizations_max": "up to how many organizations an account proves something",
    "outcome": "as the journal records it (`org history`)",
    "outcomes": "number of facts by outcome",
    "own_clock_at": "what this machine's clock says",
    "part": "part of the record",
    "partition": "number",
    "partitions": "`topic/partition`",
    "path": "address within the console",
    "pause_ms": "time until the next try, in milliseconds",
    "pause_s": "time until the next try, in seconds",
    "plan_type": "of the plan that ended",
    "policy_version": "policy that applies",
    "position": "`topic/partition/offset`",
    "reason": "why",
    "reasons": "why, as `/readyz` says it",
    "records": "number of records",
    "refusals": "how often Kafka has refused it",
    "refused": "number of records or messages refused",
    "request": "kind of the request",
    "request_id": "id that Support gave it",
    "requests": "number of requests let through; null: all",
    "rows": "number of rows or records",
    "see": "page of the documentation",
    "sequence": "number of the event of this organization",
    "silent_s": "time since its last heartbeat, in seconds",
    "source": "who sent the message",
    "state": "state that was entered",
    "state_before": "state that was left",
    "steps": "number of steps let through; null: all",
    "subscription": "`marketplace:id`",
    "taken_from": "organization that had the subscription",
    "link": "id of the link",
    "tasks": "where its tasks are",
    "ticket": "Support's ticket",
    "to_offset": "offset after the last concerned",
    "took_ms": "duration in milliseconds",
    "topic": "name",
    "trace_id": "id of the message's trace, if it has one",
    "type": "type of the message or event",
    "viewer": "who looked: subject at the issuer, or typed name; never an email address",
    "which": "which limit was reached",
    "while_starting": "true: it had not begun to work",
}
