internal import LedgerKit
package import ProjectionKit

/// The findings of a check of a whole ledger.
package struct LedgerVerify: Hashable, Sendable {
    /// What can be wrong.
    package enum Check: String, CaseIterable, Sendable {
        /// The file can be read, and its tables are those of a ledger.
        case file
        /// No log is missing.
        case log
        /// What the file says of itself.
        case header
        /// Every event is what was appended.
        case content
        /// No event is missing, and each stands where it was appended.
        case order
        /// The table of buckets agrees with the events.
        case buckets
        /// Every id can be found, and none names two events.
        case ids
        /// What was imported.
        case imports
    }

    /// One thing that is wrong.
    package struct Finding: Hashable, Sendable, CustomStringConvertible {
        /// Which check found it.
        package let check: Check
        /// The events, by their numbers, if it is the fault of some.
        package let events: ClosedRange<Int64>?
        /// The bucket that the first of them is filed in.
        package let bucket: Bucket?
        /// What is wrong, as a clause; never the content.
        package let reason: String

        /// `Event 17 in the bucket […): its content is not what was appended`.
        package var description: String {
            guard let events else { return reason }
            let name =
                events.count == 1
                ? "Event \(events.lowerBound)"
                : "Events \(events.lowerBound) to \(events.upperBound)"
            return name + (bucket.map { " in the bucket \($0)" } ?? "") + ": \(reason)"
        }
    }

    /// How many findings are listed.
    package static let listed = 20

    /// Events that are whole.
    package internal(set) var events = 0
    /// Events that the ledger must have.
    package internal(set) var expected = 0
    /// The first findings.
    package internal(set) var findings: [Finding] = []
    /// All findings, by check; a check that found nothing is absent.
    package internal(set) var counts: [Check: Int] = [:]
    /// What SQLite says of space that nothing is read from: no event depends on it, and writing may.
    package internal(set) var remarks: [String] = []

    /// Whether nothing is wrong.
    package var isSound: Bool { counts.isEmpty }

    /// Reads the whole ledger.
    ///
    /// Blocks. Writers go on meanwhile: what they append is not looked at.
    ///
    /// - Parameters:
    ///   - path: Where the ledger is.
    ///   - progress: Called with the number of events read so far, every few thousand. What it
    ///     throws ends the check.
    /// - Returns: The findings.
    /// - Throws: ``LedgerError`` when it is no ledger of this format; what `progress` throws.
    package static func run(
        path: String,
        progress: (Int) throws -> Void = { _ in }
    ) throws -> LedgerVerify {
        var result = LedgerVerify()
        do {
            try LedgerFile.withLedger(path: path, mode: .read, demanding: .readable) {
                var work = try LedgerCheck($0, $1, result)
                try work.run(progress)
                result = work.result
            }
        } catch LedgerError.damaged(_, let reason) {
            result.add(.file, "the file cannot be read: \(reason)")
        }
        return result
    }

    mutating func add(
        _ check: Check,
        _ reason: String,
        events: ClosedRange<Int64>? = nil,
        bucket: Bucket? = nil
    ) {
        counts[check, default: 0] += 1
        guard findings.count < Self.listed else { return }
        findings.append(Finding(check: check, events: events, bucket: bucket, reason: reason))
    }
}
