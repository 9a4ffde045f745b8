import Foundation
import LedgerKit
import Ledgers
import Postgres
import TestSupport
import Testing

/// A program that keeps the live tables of `shop` current.
enum ShopProjector: CaseIterable, Sendable {
    /// `examples/live_projector/projector.py`.
    case python
    /// `reprise follow shop`.
    case follow

    /// The name of its session.
    var session: String {
        switch self {
        case .python: "shop projector"
        case .follow: "reprise follow"
        }
    }

    /// Runs it beside `body`.
    func withRunning<Result>(
        in scene: RebuildScene,
        _ arguments: [String] = [],
        body: (ChildProcess) async throws -> Result
    ) async throws -> (result: Result, outcome: ChildProcess.Outcome) {
        switch self {
        case .python:
            try await requireInstalled()
            return try await ChildProcess.withRunning(
                Self.interpreter,
                [Self.script, "--ledger", scene.ledgerPath] + arguments,
                environment: ["DATABASE_URL": scene.database.url],
                body
            )
        case .follow:
            return try await RepriseProcess(scene).withRunning(
                (["follow", "shop"] + arguments).joined(separator: " "),
                body: body
            )
        }
    }

    /// Runs it to its end.
    func run(in scene: RebuildScene, _ arguments: [String]) async throws -> ChildProcess.Outcome {
        try await withRunning(in: scene, arguments) { _ in }.outcome
    }

    private static let interpreter = "/usr/bin/python3"
    private static let script = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../../../examples/live_projector/projector.py").path

    /// A test without it fails: a skipped test looks exactly like a passing one.
    func requireInstalled() async throws {
        guard self == .python else { return }
        let found = try await ChildProcess.run(Self.interpreter, ["-c", "import psycopg2"])
        try #require(
            found.status == 0,
            "\(Self.interpreter) with psycopg2 is missing; scripts/system-packages installs it"
        )
    }
}

extension RebuildScene {
    /// Waits until the live tables stand at the end of the ledger.
    func waitUntilCaughtUp(within limit: Duration = .seconds(60)) async throws {
        let end = try #require(try SQLiteLedger(path: ledgerPath).safePosition())
        try await database.waitUntil(
            "the projector is at the end of the ledger",
            within: limit,
            "SELECT FROM reprise.checkpoint WHERE projection = 'shop' AND position = $1",
            [.text("\(end)")]
        )
    }

    /// The live tables, which stand at the end of the ledger, are what a fresh fold makes of it.
    func expectFreshFold(sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let live = try await shopDigest()
        expect(
            try await RepriseProcess(self).run("rebuild shop --keep 9"),
            exits: 0,
            sourceLocation: sourceLocation
        )
        #expect(
            try await shopDigest() == live,
            "the rows that the projector kept are not those of a fold",
            sourceLocation: sourceLocation
        )
    }
}
