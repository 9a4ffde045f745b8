import Postgres
import ReadModels
import TestSupport
import Testing

@Suite("What a major of PostgreSQL brought")
struct MajorFeatureTests {
    @Test(
        "E6: is carried over, or refused by name before anything is read",
        arguments: MajorFeature.all
    )
    func feature(feature: MajorFeature) async throws {
        let major = try await ServerBuild.major()
        guard major >= feature.since else {
            // Not a failure: the older server has no such thing to lose.
            return print("Left out: PostgreSQL \(major) has no \(feature.name).")
        }
        try await withHazard(table: feature.table, setUp: feature.setUp, roles: ["app"]) { hazard in
            switch feature.outcome {
            case .carried: try await hazard.passes()
            case .refused: try await hazard.isRefused(naming: feature.named)
            }
        }
    }

    @Test("E6: large objects' default privileges stand beside the tables' and change nothing")
    func largeObjects() async throws {
        let major = try await ServerBuild.major()
        guard major >= 18 else {
            return print("Left out: PostgreSQL \(major) has no such privileges.")
        }
        try await withHazard(roles: ["app"]) { hazard in
            try await hazard.execute(
                "ALTER DEFAULT PRIVILEGES GRANT SELECT ON LARGE OBJECTS TO %app%"
            )
            try await hazard.passes()
            try await hazard.execute(
                "ALTER DEFAULT PRIVILEGES REVOKE SELECT ON LARGE OBJECTS FROM %app%"
            )
        }
    }
}
