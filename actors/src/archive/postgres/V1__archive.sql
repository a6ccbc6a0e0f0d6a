-- Messages that are kept for good, one row each. A room whose history began anew in Redis has another
-- epoch (to_hex(epoch) is what the hub writes), so a message is named by room, epoch and offset.
CREATE TABLE hubbub_messages (
    room        text        NOT NULL,
    epoch       bigint      NOT NULL,
    room_offset bigint      NOT NULL,
    -- When the hub took it.
    sent_at     timestamptz NOT NULL,
    -- The message's id, a UUIDv7.
    id          uuid,
    -- message, direct or event; none if only a later version of the hub knows.
    kind        text,
    user_id     text,
    user_name   text,
    -- The text of a message, or the name of a custom event.
    content     text,
    -- JSON beside it, as the client wrote it.
    data        text,
    -- The hub's own form, only where the columns cannot say it exactly (a text with a zero byte, which
    -- PostgreSQL does not take, or a record of a later version).
    exact       bytea,
    PRIMARY KEY (room, epoch, room_offset)
);
