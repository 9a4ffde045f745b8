import ReadModels
import TestSupport
import Testing

@Suite("Hazards of a swap: functions and row types")
struct HazardFunctionTests {
    @Test(
        "H34: a function with an atomic body reads the new table; owner and grants stay",
        arguments: Shape.allCases
    )
    func atomicFunctions(shape: Shape) async throws {
        let setUp = """
            CREATE FUNCTION s.fa() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER COST 77
                SET work_mem = '1MB' BEGIN ATOMIC SELECT v FROM s.live WHERE id = 1; END;
            CREATE PROCEDURE s.pa(i int, INOUT n text) LANGUAGE sql BEGIN ATOMIC
                UPDATE s.live SET v = v WHERE id = i; SELECT max(v) FROM s.live; END;
            CREATE FUNCTION s.over() RETURNS text LANGUAGE sql RETURN s.fa();
            ALTER FUNCTION s.fa() OWNER TO %owner%;
            REVOKE ALL ON FUNCTION s.fa() FROM PUBLIC;
            GRANT EXECUTE ON FUNCTION s.fa() TO %app%;
            GRANT USAGE ON SCHEMA s TO %owner%, %app%;
            GRANT SELECT ON s.live TO %owner%;
            COMMENT ON FUNCTION s.fa() IS 'f';
            """
        try await withHazard(shape, setUp: setUp, roles: ["owner", "app"]) { hazard in
            try await hazard.passes { epoch in
                try await hazard.expect("SELECT s.fa()", as: "app", gives: epoch.rawValue)
                try await hazard.expect("SELECT s.over()", gives: epoch.rawValue)
                try await hazard.expect("CALL s.pa(1, NULL)", gives: epoch.rawValue)
            }
        }
    }

    @Test(
        "H35: a function over the table's row type is refused by name, and a reload keeps it",
        arguments: [
            "CREATE FUNCTION s.fr(r s.live) RETURNS text LANGUAGE sql AS 'SELECT r.v'",
            "CREATE FUNCTION s.fr() RETURNS SETOF s.live LANGUAGE sql AS 'SELECT * FROM s.live'",
            "CREATE FUNCTION s.fr(r s.live[]) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        ]
    )
    func rowTypeFunction(function: String) async throws {
        try await withHazard(setUp: function) { hazard in
            try await hazard.isRefused(naming: "s.fr", truncates: true)
            try await hazard.expect("SELECT v FROM s.live", gives: "new")
        }
    }

    @Test(
        "H36: a column of the table's row type is refused by name, and a reload keeps it",
        arguments: [
            "CREATE TABLE s.u (r s.live)", "CREATE TABLE s.u (r s.live[])",
            "CREATE DOMAIN s.d AS s.live; CREATE TABLE s.u (r s.d)",
            "CREATE TYPE s.u AS (r s.live)",
        ]
    )
    func compositeColumn(statement: String) async throws {
        try await withHazard(setUp: statement) { hazard in
            let name = statement.contains("DOMAIN") ? "s.d" : "s.u"
            try await hazard.isRefused(naming: name, truncates: true)
            try await hazard.expect("SELECT v FROM s.live", gives: "new")
        }
    }
}
