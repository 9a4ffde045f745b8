import Postgres
import ReadModels
import Rebuilder
import TestSupport
import Testing

/// Who runs the job.
enum PlantedJob: String, CaseIterable, CustomTestStringConvertible {
    case superuser
    /// A role with the script of grants of docs/operating.md.
    case granted

    var testDescription: String { rawValue }
}

/// A database in which somebody has planted something, and a job that knows nothing of it.
struct PlantedScene: Sendable {
    let plant: Plant
    /// As a superuser sees it.
    let admin: HazardScene
    /// As the job sees it.
    let job: HazardScene
    /// Schemas that were there before the job.
    let schemas: [String]

    private static let roles =
        Plant.Planter.allCases.map(\.rawValue) + ["app", "job"]

    /// The live table with an honest owner, and what tells as whom code is called.
    ///
    /// Sequences and the server's statistics record it, which no rollback takes back. A read-only
    /// transaction changes no sequence.
    private static func setUp(_ plant: Plant) -> String {
        let owner = plant.planter == .owner ? "owner" : "app"
        let role = "%\(plant.planter.rawValue)%"
        return """
            CREATE SCHEMA told;
            GRANT USAGE ON SCHEMA told TO PUBLIC;
            CREATE SEQUENCE told.own;
            CREATE SEQUENCE told.stranger;
            GRANT USAGE, UPDATE ON SEQUENCE told.own, told.stranger TO PUBLIC;
            CREATE FUNCTION told.as_owner() RETURNS void LANGUAGE plpgsql AS 'BEGIN RETURN; END';
            CREATE FUNCTION told.as_stranger() RETURNS void LANGUAGE plpgsql AS 'BEGIN RETURN; END';
            GRANT USAGE ON SCHEMA s TO %app%, \(Plant.Planter.allCases.map { "%\($0.rawValue)%" }
                .joined(separator: ", "));
            ALTER TABLE s.live OWNER TO %\(owner)%;
            GRANT SELECT ON s.live TO %reader%;
            GRANT SELECT (v) ON s.live TO %column%;
            GRANT CREATE ON SCHEMA s TO %schema%, %owner%;
            DO $do$ BEGIN
                EXECUTE pg_catalog.format('GRANT CREATE ON DATABASE %I TO ',
                    pg_catalog.current_database()) || '%database%, %owner%';
                EXECUTE pg_catalog.format('ALTER DATABASE %I SET track_functions = ''all''',
                    pg_catalog.current_database());
            END $do$;
            \(login)
            CREATE SCHEMA by AUTHORIZATION \(role);
            GRANT USAGE ON SCHEMA by TO PUBLIC;
            \(plant.before);
            SET ROLE \(role);
            \(teller)
            """
    }

    private static let login = """
        ALTER ROLE %job% LOGIN PASSWORD 'right-2207';
        DO $do$ BEGIN
            IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'password_required') THEN
                GRANT password_required TO %job%;
            END IF;
        END $do$;
        """

    private static let teller = """
        CREATE FUNCTION by.f(x text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN
            IF current_user = (SELECT r.rolname FROM pg_catalog.pg_proc AS p
                JOIN pg_catalog.pg_roles AS r ON r.oid = p.proowner
                WHERE p.oid = 'by.f(text)'::pg_catalog.regprocedure)
            THEN
                PERFORM told.as_owner();
                BEGIN PERFORM pg_catalog.nextval('told.own'); EXCEPTION WHEN OTHERS THEN NULL; END;
            ELSE
                PERFORM told.as_stranger();
                BEGIN
                    PERFORM pg_catalog.setval('told.stranger', r.oid::bigint)
                    FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user;
                EXCEPTION WHEN OTHERS THEN NULL; END;
            END IF;
            RETURN x;
        END $$;

        """

    /// Runs `body` in a database of its own.
    static func with(
        _ plant: Plant,
        _ job: PlantedJob,
        _ body: (PlantedScene) async throws -> Void
    ) async throws {
        try await withHazard(
            plant.file == nil ? .cloned : .declared,
            of: PlantedProjection.self,
            table: "CREATE TABLE live (id int PRIMARY KEY, v text, tags text[] DEFAULT ARRAY['a'])",
            file: plant.file,
            rows: "INSERT INTO s.live (id, v) VALUES (1, 'old'), (2, 'old')",
            setUp: setUp(plant),
            roles: roles,
            consent: CarryOverConsent(
                republishes: true,
                recreatesIncomingForeignKeys: true,
                acceptsLoss: true,
                adoptsStrangers: true
            ),
            events: [Live.event(1, "new"), Live.event(2, "other")]
        ) { admin in
            // Its session stays, with what is temporary in it.
            try await admin.database.withConnection { planter in
                let role = "SET ROLE %\(plant.planter.rawValue)%; SET search_path = '';"
                try await planter.execute(admin.withRoles(role + plant.sql))
                let scene = try await prepared(plant, job, admin)
                try await GivenSQL.$checks.withValue(plant.checks) { try await body(scene) }
                try await planter.execute("DISCARD TEMP")
            }
        }
    }

    private static func prepared(
        _ plant: Plant,
        _ job: PlantedJob,
        _ admin: HazardScene
    ) async throws -> PlantedScene {
        var worker = admin
        if job == .granted {
            let role = try #require(admin.roles["job"])
            try await GrantsScript.run(for: role, schema: "s", in: admin.database)
            worker = HazardScene(
                scene: admin.scene.connecting(
                    to: admin.database.asLogin(role, password: "right-2207")
                ),
                projection: admin.projection,
                consent: admin.consent,
                roles: admin.roles
            )
        }
        try await admin.execute("ALTER SEQUENCE told.own RESTART")
        let schemas = try await admin.database.query("SELECT nspname FROM pg_catalog.pg_namespace")
            .rows.map { try $0.string("nspname") }
        return PlantedScene(plant: plant, admin: admin, job: worker, schemas: schemas)
    }
}

// MARK: What the job does

extension PlantedScene {
    /// Does one step.
    func run(_ step: Plant.Step) async throws {
        let control = job.scene.control(job.projection)
        switch step {
        case .status: _ = try await control.status()
        case .plan: try await expectPlan(.swap)
        case .planTruncate: try await expectPlan(.truncate)
        case .swapRebuild: try await job.rebuild()
        case .rollback: try await job.rollback()
        case .swap: try await job.swap()
        case .follow:
            try job.scene.append([
                Live.event(1, "newer"), Live.event(3, "third"), Live.event(2, "gone"),
            ])
            var options = FollowOptions()
            options.endsAtEnd = true
            try await Follow(
                of: job.projection,
                from: try job.scene.ledger(),
                into: job.scene.target,
                options: options
            ).run()
        case .truncateRebuild: try await job.rebuild(.truncate)
        case .build: try await job.build()
        case .prune: _ = try await control.prune(keep: 0)
        }
    }

    private func expectPlan(_ strategy: Strategy) async throws {
        let refusals = try await job.plan(strategy).refusals
        guard refusals.isEmpty else {
            throw ReadModelError.refusedByPlan(projection: "live", reasons: refusals)
        }
    }
}

// MARK: What must hold

extension PlantedScene {
    /// As whom the planted code was called, other than its owner; empty when it was not.
    func strangers() async throws -> [String] {
        // A session tells the server what it has called at its end.
        try await admin.wait(
            until: """
                SELECT WHERE 2 >= (SELECT count(*) FROM pg_catalog.pg_stat_activity
                    WHERE datname = current_database() AND backend_type = 'client backend')
                """
        )
        return try await admin.database.query(
            """
            SELECT coalesce((SELECT r.rolname FROM told.stranger AS t
                JOIN pg_catalog.pg_roles AS r ON r.oid = t.last_value::pg_catalog.oid
                WHERE t.is_called), 'nobody knows whom') AS role
            WHERE EXISTS (SELECT FROM told.stranger AS t WHERE t.is_called)
                OR EXISTS (SELECT FROM pg_catalog.pg_stat_user_functions AS f
                    WHERE f.schemaname = 'told' AND f.funcname = 'as_stranger' AND f.calls > 0)
            """
        ).rows.map { try $0.string("role") }
    }

    /// Whether the planted code was called with its owner's rights.
    func isCalledAsOwner() async throws -> Bool {
        try await admin.value("SELECT is_called FROM told.own") == "t"
    }

    /// Owners of and rights on everything that was there before the job, with the rows of policies and
    /// memberships that give any.
    func belongings() async throws -> [String] {
        try await admin.database.query(
            Belongings.query,
            [.texts(schemas)]
        ).rows.map { try $0.string("line") }
    }

    /// What the job has made and somebody else owns or has a right on.
    func givenAway() async throws -> [String] {
        let owner = try await admin.database.query("SELECT current_user AS role").first?
            .string("role")
        let role = job.database.url == admin.database.url ? owner : admin.roles["job"]
        return try await admin.database.query(
            Belongings.strayQuery,
            [.texts(schemas), .text(role ?? "")]
        ).rows.map { try $0.string("line") }
    }
}
