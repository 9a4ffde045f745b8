import Testing

/// Something that a major of PostgreSQL brought and that can be on or around a live table.
///
/// `scripts/majors-page` makes docs/majors.md of the list: each entry is one call of `.init`, its texts in this
/// order.
struct MajorFeature: CustomTestStringConvertible, Sendable {
    /// What becomes of it by a swap.
    enum Outcome: String, Sendable {
        /// It is on the new table, as it was.
        case carried
        /// The plan refuses by name.
        case refused
    }

    /// What it is, as the page says.
    let name: String
    /// The first major that has it.
    let since: Int
    /// What a swap does with it.
    let outcome: Outcome
    /// The live table.
    var table = "CREATE TABLE live (id int PRIMARY KEY, v text)"
    /// What is put on and around it, in the schema `s`; `%app%` is a role.
    var setUp = ""
    /// What the refusal names.
    var named = ""

    var testDescription: String { name }

    static let all: [MajorFeature] = fifteen + seventeen + eighteen

    private static let fifteen: [MajorFeature] = [
        .init(
            name: "UNIQUE NULLS NOT DISTINCT",
            since: 15,
            outcome: .carried,
            setUp: "ALTER TABLE s.live ADD UNIQUE NULLS NOT DISTINCT (v)"
        ),
        .init(
            name: "view WITH (security_invoker)",
            since: 15,
            outcome: .carried,
            setUp:
                "CREATE VIEW s.w WITH (security_invoker) AS SELECT * FROM s.live; GRANT SELECT ON s.w TO %app%"
        ),
        .init(
            name: "ON DELETE SET NULL (column)",
            since: 15,
            outcome: .carried,
            setUp:
                "CREATE TABLE s.parent (v text PRIMARY KEY); INSERT INTO s.parent VALUES ('old'), ('new'); ALTER TABLE s.live ADD FOREIGN KEY (v) REFERENCES s.parent ON DELETE SET NULL (v)"
        ),
    ]

    private static let seventeen: [MajorFeature] = [
        .init(
            name: "GRANT MAINTAIN",
            since: 17,
            outcome: .carried,
            setUp: "GRANT MAINTAIN ON s.live TO %app%"
        ),
        .init(
            name: "column SET STATISTICS DEFAULT",
            since: 17,
            outcome: .carried,
            setUp:
                "ALTER TABLE s.live ALTER v SET STATISTICS 7; ALTER TABLE s.live ALTER v SET STATISTICS DEFAULT"
        ),
        .init(
            name: "default privileges with MAINTAIN",
            since: 17,
            outcome: .carried,
            setUp: "ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT MAINTAIN ON TABLES TO %app%"
        ),
    ]

    private static let eighteen: [MajorFeature] = [
        .init(
            name: "NOT NULL constraint with a name",
            since: 18,
            outcome: .carried,
            setUp: "ALTER TABLE s.live ADD CONSTRAINT must_be NOT NULL v"
        ),
        .init(
            name: "NOT NULL constraint with a name in CREATE TABLE",
            since: 18,
            outcome: .carried,
            table:
                "CREATE TABLE live (id int CONSTRAINT \"an id\" NOT NULL PRIMARY KEY, v text CONSTRAINT must_be NOT NULL)"
        ),
        .init(
            name: "NOT NULL … NOT VALID",
            since: 18,
            outcome: .carried,
            setUp: "ALTER TABLE s.live ADD CONSTRAINT must_be NOT NULL v NOT VALID"
        ),
        .init(
            name: "NOT NULL … NO INHERIT",
            since: 18,
            outcome: .carried,
            setUp: "ALTER TABLE s.live ADD CONSTRAINT must_be NOT NULL v NO INHERIT"
        ),
        .init(
            name: "comment on a NOT NULL constraint",
            since: 18,
            outcome: .carried,
            setUp:
                "ALTER TABLE s.live ADD CONSTRAINT must_be NOT NULL v; COMMENT ON CONSTRAINT must_be ON s.live IS 'why'"
        ),
        .init(
            name: "CHECK … NOT ENFORCED",
            since: 18,
            outcome: .carried,
            setUp: "ALTER TABLE s.live ADD CONSTRAINT wish CHECK (v = 'nothing') NOT ENFORCED"
        ),
        .init(
            name: "FOREIGN KEY … NOT ENFORCED",
            since: 18,
            outcome: .carried,
            setUp:
                "CREATE TABLE s.parent (v text PRIMARY KEY); ALTER TABLE s.live ADD CONSTRAINT wish FOREIGN KEY (v) REFERENCES s.parent NOT ENFORCED"
        ),
        .init(
            name: "generated column VIRTUAL",
            since: 18,
            outcome: .carried,
            table:
                "CREATE TABLE live (id int PRIMARY KEY, v text, twice text GENERATED ALWAYS AS (v || v) VIRTUAL)"
        ),
        .init(
            name: "generated column VIRTUAL NOT NULL",
            since: 18,
            outcome: .carried,
            table:
                "CREATE TABLE live (id int PRIMARY KEY, v text, twice text GENERATED ALWAYS AS (v || v) VIRTUAL NOT NULL)"
        ),
        .init(
            name: "UNIQUE … WITHOUT OVERLAPS",
            since: 18,
            outcome: .carried,
            table:
                "CREATE EXTENSION btree_gist SCHEMA public; SET search_path = s, public; CREATE TABLE live (id int PRIMARY KEY, v text, at daterange NOT NULL DEFAULT '[2020-01-01,2021-01-01)', UNIQUE (id, at WITHOUT OVERLAPS))"
        ),
        .init(
            name: "FOREIGN KEY … PERIOD",
            since: 18,
            outcome: .carried,
            table:
                "CREATE EXTENSION btree_gist SCHEMA public; SET search_path = s, public; CREATE TABLE parent (id int, at daterange, PRIMARY KEY (id, at WITHOUT OVERLAPS)); INSERT INTO parent VALUES (1, '[2019-01-01,2022-01-01)'); CREATE TABLE live (id int PRIMARY KEY, v text, at daterange NOT NULL DEFAULT '[2020-01-01,2021-01-01)', FOREIGN KEY (id, PERIOD at) REFERENCES parent)"
        ),
        .init(
            name: "incoming FOREIGN KEY … NOT ENFORCED",
            since: 18,
            outcome: .refused,
            setUp: "CREATE TABLE s.child (id int REFERENCES s.live NOT ENFORCED)",
            named: "foreign key child_id_fkey of s.child"
        ),
    ]
}
