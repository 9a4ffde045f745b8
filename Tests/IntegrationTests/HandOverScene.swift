import LedgerKit
import Ledgers
import Postgres
import ProjectionKit
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// A tally whose projector keeps its position in a table of its own.
struct HandOverScene: Sendable {
    let scene: RebuildScene
    let template: PositionTemplate

    var database: ScratchDatabase { scene.database }

    var target: ReadModelDatabase {
        var target = scene.target
        target.positionTemplates = [Tally.name: template]
        return target
    }

    var control: GenerationControl { GenerationControl(of: Tally.self, in: target) }

    @discardableResult
    func rebuild(
        from ledger: (any Ledger)? = nil,
        _ change: (inout RebuildOptions) -> Void = { _ in }
    ) async throws -> RebuildReport {
        var options = RebuildOptions()
        change(&options)
        return try await Rebuild(
            of: Tally.self,
            from: try ledger ?? scene.ledger(),
            into: target,
            options: options
        ).run()
    }

    func plan(_ ledger: (any Ledger)? = nil) async throws -> ReadModelPlan {
        try await Rebuild(
            of: Tally.self,
            from: try ledger ?? scene.ledger(),
            into: target
        ).plan().readModel
    }

    /// The first column of the first row.
    func value(_ sql: String) async throws -> String? {
        try await database.query(sql).first?[0]
    }

    /// What the projector's row holds.
    func position() async throws -> String? {
        try await value("SELECT position FROM public.my_positions WHERE name = 'tally'")
    }

    /// Which generation the bookkeeping calls live, and how many events readers see.
    func live() async throws -> [String?] {
        [
            try await value("SELECT generation FROM reprise.generation WHERE state = 'live'"),
            try await value("SELECT sum(events) FROM public.tally"),
        ]
    }
}

extension PositionTemplate {
    /// A template over `public.my_positions`, where the row of `tally` is the projector's.
    static func mine(
        read: String = """
        SELECT position FROM public.my_positions WHERE name = {projection} FOR UPDATE
        """,
        write: String = """
        UPDATE public.my_positions SET position = {position} WHERE name = {projection}
        """,
        format: PositionFormat = .text
    ) throws -> PositionTemplate {
        try PositionTemplate(read: read, write: write, format: format)
    }
}

/// Runs `body` with a tally of three events in a ledger, and a projector that has not begun.
func withHandOver<Result: Sendable>(
    template: PositionTemplate? = nil,
    _ body: (HandOverScene) async throws -> Result
) async throws -> Result {
    try await withRebuildScene { scene in
        try await scene.database.execute(
            """
            CREATE TABLE public.my_positions (name text PRIMARY KEY, position text);
            INSERT INTO public.my_positions VALUES ('tally', NULL), ('other', 'x')
            """
        )
        try scene.append(counted([1, 2, 3]))
        return try await body(
            HandOverScene(scene: scene, template: try template ?? .mine())
        )
    }
}

/// The table of a framework, as that makes it, with the row of the projector `Shop` among others.
struct PresetCase: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let template: @Sendable () throws -> PositionTemplate
    /// Makes the table, and the rows at the beginning.
    let table: String
    /// Gives the position's column.
    let column: String
    /// Sets the position as the framework would, to `%`.
    let move: String
    var isPaired = false
    /// The framework's text of a number.
    let text: @Sendable (Int) -> String
}

extension PresetCase {
    fileprivate init(
        _ preset: PositionPreset,
        _ row: PositionPreset.Row,
        table: String,
        column: String,
        move: String,
        isPaired: Bool = false,
        text: @escaping @Sendable (Int) -> String = { "\($0)" }
    ) {
        self.init(
            testDescription: preset.rawValue + (row.format.map { " as \($0.rawValue)" } ?? ""),
            template: { try preset.template(for: row) },
            table: table,
            column: column,
            move: move,
            isPaired: isPaired,
            text: text
        )
    }
}

extension PresetCase {
    static let all: [PresetCase] = [
        marten, emmett(.pair), emmett(.number), commanded, eventsourcing, trackingRows,
        pekko, patchlevel,
    ]

    private static let marten = PresetCase(
        .marten,
        .init(name: "Shop:All"),
        table: """
            CREATE TABLE public.mt_event_progression (
                name varchar NOT NULL, last_seq_id bigint NULL,
                last_updated timestamptz NULL DEFAULT (transaction_timestamp()),
                CONSTRAINT pk_mt_event_progression PRIMARY KEY (name));
            INSERT INTO public.mt_event_progression VALUES
                ('HighWaterMark', 9), ('Shop:All', NULL), ('Shop:All:tenant', 7)
            """,
        column: "SELECT last_seq_id FROM public.mt_event_progression WHERE name = 'Shop:All'",
        move: "UPDATE public.mt_event_progression SET last_seq_id = '%' WHERE name = 'Shop:All'"
    )

    private static func emmett(_ format: PositionFormat) -> PresetCase {
        let text: @Sendable (Int) -> String = { number in
            let digits = String("\(1_000_000_000 + number)".dropFirst())
            let position = "0000000000\(digits)"
            return format == .pair ? "00000000000000000\(700 + number):\(position)" : position
        }
        return PresetCase(
            .emmett,
            .init(name: "shop", format: format),
            table: """
                CREATE TABLE public.emt_processors (
                    last_processed_transaction_id xid8 NOT NULL, version int NOT NULL DEFAULT 1,
                    processor_id text NOT NULL, partition text NOT NULL DEFAULT 'emt:default',
                    status text NOT NULL DEFAULT 'stopped',
                    last_processed_checkpoint text NOT NULL,
                    processor_instance_id text DEFAULT 'emt:unknown',
                    created_at timestamptz NOT NULL DEFAULT now(),
                    last_updated timestamptz NOT NULL DEFAULT now(),
                    PRIMARY KEY (processor_id, partition, version)) PARTITION BY LIST (partition);
                CREATE TABLE public.emt_processors_emt_default PARTITION OF public.emt_processors
                    FOR VALUES IN ('emt:default');
                CREATE TABLE public.emt_processors_eu PARTITION OF public.emt_processors
                    FOR VALUES IN ('eu');
                INSERT INTO public.emt_processors (last_processed_transaction_id, version,
                    processor_id, partition, last_processed_checkpoint)
                VALUES ('0', 1, 'shop', 'emt:default', '0'), ('0', 1, 'shop', 'eu', '0'),
                    ('0', 2, 'shop', 'emt:default', '0')
                """,
            column: """
                SELECT last_processed_checkpoint FROM public.emt_processors
                WHERE processor_id = 'shop' AND partition = 'emt:default' AND version = 1
                """,
            move: """
                UPDATE public.emt_processors SET last_processed_checkpoint = '%'
                WHERE processor_id = 'shop' AND partition = 'emt:default' AND version = 1
                """,
            isPaired: format == .pair,
            text: text
        )
    }

    private static let commanded = PresetCase(
        .commanded,
        .init(name: "Shop.Projector"),
        table: """
            CREATE TABLE public.projection_versions (projection_name text PRIMARY KEY,
                last_seen_event_number bigint, inserted_at timestamp(0) NOT NULL,
                updated_at timestamp(0) NOT NULL);
            INSERT INTO public.projection_versions VALUES
                ('Shop.Projector', 0, now(), now()), ('Other.Projector', 5, now(), now())
            """,
        column: """
            SELECT last_seen_event_number FROM public.projection_versions
            WHERE projection_name = 'Shop.Projector'
            """,
        move: """
            UPDATE public.projection_versions SET last_seen_event_number = '%'
            WHERE projection_name = 'Shop.Projector'
            """
    )

    private static let eventsourcing = PresetCase(
        .eventsourcing,
        .init(name: "Shop", table: QualifiedName(schema: "public", name: "totals_tracking")),
        table: """
            CREATE TABLE public.totals_tracking (application_name text,
                notification_id bigint, PRIMARY KEY (application_name));
            INSERT INTO public.totals_tracking VALUES ('Shop', 0), ('Billing', 5)
            """,
        column: """
            SELECT notification_id FROM public.totals_tracking WHERE application_name = 'Shop'
            """,
        move: """
            UPDATE public.totals_tracking SET notification_id = '%' WHERE application_name = 'Shop'
            """
    )

    /// The templates of docs/position-templates.md for a tracking row of each event.
    private static let trackingRows = PresetCase(
        testDescription: "eventsourcing, a row for each event",
        template: {
            try PositionTemplate(
                read: """
                    LOCK TABLE public.totals_tracking IN SHARE ROW EXCLUSIVE MODE;
                    SELECT max(notification_id) FROM public.totals_tracking
                    WHERE application_name = 'Shop'
                    """,
                write: """
                    WITH later AS (DELETE FROM public.totals_tracking
                        WHERE application_name = 'Shop' AND notification_id > {position})
                    INSERT INTO public.totals_tracking VALUES ('Shop', {position})
                    ON CONFLICT (application_name, notification_id) DO UPDATE
                        SET notification_id = excluded.notification_id
                    """,
                format: .number
            )
        },
        table: """
            CREATE TABLE public.totals_tracking (application_name text, notification_id bigint,
                PRIMARY KEY (application_name, notification_id));
            INSERT INTO public.totals_tracking SELECT 'Billing', generate_series(1, 20)
            """,
        column: """
            SELECT max(notification_id) FROM public.totals_tracking WHERE application_name = 'Shop'
            """,
        move: """
            INSERT INTO public.totals_tracking SELECT 'Shop', generate_series(1, %)
            ON CONFLICT DO NOTHING
            """,
        text: { "\($0)" }
    )

    private static let pekko = PresetCase(
        .pekko,
        .init(name: "Shop", key: "shop-0"),
        table: """
            CREATE TABLE public.pekko_projection_offset_store (projection_name varchar(255) NOT NULL,
                projection_key varchar(255) NOT NULL, current_offset varchar(255) NOT NULL,
                manifest varchar(4) NOT NULL, mergeable boolean NOT NULL,
                last_updated bigint NOT NULL, PRIMARY KEY (projection_name, projection_key));
            INSERT INTO public.pekko_projection_offset_store VALUES
                ('Shop', 'shop-0', '0', 'SEQ', false, 0), ('Shop', 'shop-1', '5', 'SEQ', false, 0)
            """,
        column: """
            SELECT current_offset FROM public.pekko_projection_offset_store
            WHERE projection_name = 'Shop' AND projection_key = 'shop-0'
            """,
        move: """
            UPDATE public.pekko_projection_offset_store SET current_offset = '%'
            WHERE projection_name = 'Shop' AND projection_key = 'shop-0'
            """
    )

    private static let patchlevel = PresetCase(
        .patchlevel,
        .init(name: "shop"),
        table: """
            CREATE TABLE public.subscriptions (id varchar(255) NOT NULL PRIMARY KEY,
                group_name varchar(32) NOT NULL, run_mode varchar(16) NOT NULL,
                position int NOT NULL, status varchar(32) NOT NULL, error_message text,
                error_previous_status varchar(32), error_context jsonb,
                retry_attempt int NOT NULL, last_saved_at timestamp(0) with time zone NOT NULL);
            INSERT INTO public.subscriptions VALUES
                ('shop', 'default', 'from_beginning', 0, 'active', NULL, NULL, NULL, 0, now()),
                ('mail', 'default', 'from_now', 5, 'active', NULL, NULL, NULL, 0, now())
            """,
        column: "SELECT position FROM public.subscriptions WHERE id = 'shop'",
        move: "UPDATE public.subscriptions SET position = '%' WHERE id = 'shop'"
    )
}
