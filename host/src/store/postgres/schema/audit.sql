-- The audit log. Entries are not changed, and deleted only by the sweep, which says first up to
-- when. `answers` are known by the actor and the key of a request.
CREATE TABLE hookbox.audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms bigint NOT NULL,
    actor text COLLATE "C" NOT NULL,
    role text NOT NULL,
    via text NOT NULL,
    action text COLLATE "C" NOT NULL,
    target text NOT NULL,
    detail text NOT NULL,
    result text NOT NULL
);
CREATE TABLE hookbox.audit_swept (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    before_ms bigint NOT NULL
);
INSERT INTO hookbox.audit_swept (before_ms) VALUES (0);
CREATE FUNCTION hookbox.keep_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.at_ms < (SELECT s.before_ms FROM hookbox.audit_swept s) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'entries of the audit log are not changed, nor deleted before their time';
END $$;
CREATE TRIGGER audit_is_kept BEFORE UPDATE OR DELETE ON hookbox.audit
    FOR EACH ROW EXECUTE FUNCTION hookbox.keep_audit();
CREATE TRIGGER audit_is_not_truncated BEFORE TRUNCATE ON hookbox.audit
    FOR EACH STATEMENT EXECUTE FUNCTION hookbox.keep_audit();

CREATE TABLE hookbox.answers (
    actor text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    at_ms bigint NOT NULL,
    request text NOT NULL,
    answer text NOT NULL,
    PRIMARY KEY (actor, key)
);
CREATE INDEX answers_at ON hookbox.answers (at_ms);
