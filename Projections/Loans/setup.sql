-- CREATE TYPE has no IF NOT EXISTS. To add a state, add an ALTER TYPE … ADD VALUE IF NOT EXISTS.
DO $$
BEGIN
    CREATE TYPE loan_state AS ENUM (
        'submitted',
        'partly_submitted',
        'preaccepted',
        'accepted',
        'finalized',
        'approved',
        'declined',
        'cancelled'
    );
EXCEPTION
    WHEN duplicate_object THEN NULL;
END
$$;
