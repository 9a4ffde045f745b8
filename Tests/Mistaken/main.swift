import Foundation
import LedgerKit
import RepriseCommand

// Sound by itself; `MISTAKE` adds one.
let mistake = ProcessInfo.processInfo.environment["MISTAKE"]
let mistaken = mistake.flatMap { mistakes[$0] }
let schemes =
    mistake == "scheme" ? [LedgerScheme("Lines") { _ in throw CancellationError() }] : []

await Reprise.main(projections: [Trap.self] + (mistaken.map { [$0] } ?? []), ledgers: schemes)
