import Foundation
import LedgerKit
import Ledgers
import ProjectionKit
import Synchronization
import TestSupport

/// A promise of ledgers that is broken.
enum LedgerFault: String, CaseIterable, Sendable {
    case sortsByID, sortsByTime, repeatsAnEvent, skipsAnEvent
    case filesByOwnTime
    case losesIDs, losesMetadata, losesMicroseconds, composesText, trimsPayloads
    case ignoresAfter, includesAfter, excludesThrough, ignoresThrough
    case trapsNothingButThrowsAtExtremes
    case fillsEmptyBatches, leavesTheBatch, keepsTheWidth, splitsAtAMegabyte, beginsAgain,
        sharesTooMuch
    case sharesItsReader, blocksWriters, seesLaterEvents
    case safeIsLastButOne, safeIsAhead, safeStandsStill
    case holdsEverything, holdsNothing, holdsBySequence
    case beforeByOwnTime, beforeByMillisecond, beforeIncludesTheTime
    case bucketsLoseAnEvent, bucketsEndElsewhere, bucketsAreUnsorted, bucketsIgnoreTheSpan
    case watchesNothing, watchesFromTheFirstQuestion, watchesInCommon
    case identityChanges, identityIsShared, identityIsEmpty
    case countsOnOneThread
    case emptyHasAPosition

    /// The check that names it.
    var check: String {
        switch self {
        case .sortsByID, .sortsByTime, .repeatsAnEvent, .skipsAnEvent: "order"
        case .filesByOwnTime: "filing"
        case .losesIDs, .losesMetadata, .losesMicroseconds, .composesText, .trimsPayloads:
            "content"
        case .ignoresAfter, .includesAfter, .excludesThrough, .ignoresThrough: "spans"
        case .trapsNothingButThrowsAtExtremes: "extreme positions"
        case .fillsEmptyBatches, .leavesTheBatch, .keepsTheWidth, .splitsAtAMegabyte, .beginsAgain,
            .sharesTooMuch:
            "batches"
        case .sharesItsReader: "two readers"
        case .blocksWriters, .seesLaterEvents: "appending while reading"
        case .safeIsLastButOne, .safeIsAhead, .safeStandsStill: "safe position"
        case .holdsEverything, .holdsNothing, .holdsBySequence: "holds"
        case .beforeByOwnTime, .beforeByMillisecond, .beforeIncludesTheTime:
            "last position before a time"
        case .bucketsLoseAnEvent, .bucketsEndElsewhere, .bucketsAreUnsorted, .bucketsIgnoreTheSpan:
            "buckets"
        case .watchesNothing, .watchesFromTheFirstQuestion, .watchesInCommon: "watch"
        case .identityChanges, .identityIsShared, .identityIsEmpty: "identity"
        case .countsOnOneThread: "threads"
        case .emptyHasAPosition: "empty ledger"
        }
    }
}

/// A ledger that keeps all promises but one.
final class FaultyLedger: Ledger {
    private struct Refusal: Error {}

    private let sound: MemoryLedger
    private let fault: LedgerFault
    /// Readers that are open, for writers to wait for.
    private let readers = NSCondition()
    private let state = Mutex((open: 0, first: Position?.none, watched: 0))
    private let appended = Mutex(0)
    private let common = Mutex<Position?>(nil)
    private let busy = Mutex(false)

    init(_ fault: LedgerFault) {
        sound = MemoryLedger(.inOrder)
        self.fault = fault
    }

    var place: String { sound.place }
    var bucketWidth: Int64 { sound.bucketWidth }
    var arrival: Arrival { sound.arrival }

    func append(_ events: [NewEvent]) {
        if fault == .blocksWriters {
            readers.lock()
            // The suite gives up after 20 seconds; its check is over when the reader closes.
            while state.withLock({ $0.open > 0 }) { readers.wait() }
            readers.unlock()
        }
        sound.append(events)
        appended.withLock { $0 += 1 }
    }

    func identity() -> String {
        switch fault {
        case .identityChanges: UUID().uuidString
        case .identityIsShared: "the only one"
        case .identityIsEmpty: ""
        default: sound.identity()
        }
    }

    func safePosition() -> Position? {
        let all = sound.events(in: Self.everything)
        switch fault {
        case .safeIsLastButOne: return all.dropLast().last?.position ?? all.last?.position
        case .safeIsAhead: return all.last.map { Position($0.position.words.0 + 1, 0) }
        case .safeStandsStill:
            return state.withLock { state in
                state.first = state.first ?? all.last?.position
                return state.first
            }
        case .emptyHasAPosition: return all.last?.position ?? Position(0)
        default: return all.last?.position
        }
    }

    func holds(_ position: Position) -> Bool {
        switch fault {
        case .holdsEverything: true
        case .holdsNothing: false
        case .holdsBySequence:
            sound.events(in: Self.everything).contains {
                $0.position.words.0 == position.words.0
            }
        default: sound.holds(position)
        }
    }

    func lastPosition(before time: Timestamp) -> Position? {
        switch fault {
        case .beforeByOwnTime:
            return sound.events(in: Self.everything).last { $0.time < time }?.position
        case .beforeByMillisecond:
            let within = Timestamp(microseconds: max(time.microseconds, .min + 1_000_000))
            return sound.lastPosition(before: Timestamp(milliseconds: within.milliseconds))
        case .beforeIncludesTheTime:
            let next = time.microseconds == .max ? .max : time.microseconds + 1
            return sound.lastPosition(before: Timestamp(microseconds: next))
        default: return sound.lastPosition(before: time)
        }
    }

    func buckets(in span: PositionSpan) -> [BucketCount] {
        if fault == .bucketsIgnoreTheSpan, !sound.events(in: span).isEmpty {
            return sound.buckets(in: Self.everything)
        }
        let counts = sound.buckets(in: span)
        switch fault {
        case .bucketsAreUnsorted: return counts.reversed()
        case .bucketsLoseAnEvent:
            return counts.map {
                BucketCount(bucket: $0.bucket, events: max(1, $0.events - 1), last: $0.last)
            }
        case .bucketsEndElsewhere:
            return counts.map { count in
                let last = Position(count.last.words.0, 0)
                return BucketCount(bucket: count.bucket, events: count.events, last: last)
            }
        default: return counts
        }
    }

    func watch() -> any LedgerWatch {
        switch fault {
        case .watchesNothing: Watch { false }
        case .watchesFromTheFirstQuestion: LazyWatch(ledger: sound)
        case .watchesInCommon:
            Watch { [self] in
                let now = appended.withLock { $0 }
                return state.withLock { state in
                    defer { state.watched = now }
                    return state.watched != now
                }
            }
        default: sound.watch()
        }
    }

    func withReader<Result>(
        of span: PositionSpan,
        _ body: (any LedgerReader) throws -> Result
    ) throws -> Result {
        if fault == .trapsNothingButThrowsAtExtremes, span.through.words.0 == 1 << 63 {
            throw Refusal()
        }
        if fault == .countsOnOneThread {
            guard
                busy.withLock({ isBusy in
                    defer { isBusy = true }
                    return !isBusy
                })
            else { throw Refusal() }
        }
        state.withLock { $0.open += 1 }
        defer {
            busy.withLock { $0 = false }
            readers.lock()
            state.withLock { $0.open -= 1 }
            readers.broadcast()
            readers.unlock()
        }
        return try body(FaultyReader(self, span))
    }

    private static let everything = PositionSpan(through: Position(.max, .max, .max))

    /// The events that a reader hands out.
    fileprivate func events(of span: PositionSpan) -> [LedgerEvent] {
        let all = sound.events(in: Self.everything)
        let within = sound.events(in: span)
        switch fault {
        case .sortsByID: return within.sorted { ($0.id ?? "") < ($1.id ?? "") }
        case .sortsByTime: return within.sorted { $0.time < $1.time }
        case .repeatsAnEvent: return within + within.suffix(1)
        case .skipsAnEvent: return within.count > 5 ? Array(within.dropFirst(3)) : within
        case .ignoresAfter: return sound.events(in: PositionSpan(through: span.through))
        case .includesAfter: return all.filter { $0.position == span.after } + within
        case .excludesThrough: return within.filter { $0.position != span.through }
        case .ignoresThrough:
            return sound.events(
                in: PositionSpan(after: span.after, through: Self.everything.through)
            )
        default: return within
        }
    }

    /// An event as a reader hands it out.
    fileprivate func shown(_ event: LedgerEvent) -> LedgerEvent {
        var event = event
        switch fault {
        case .filesByOwnTime:
            event.bucketStart =
                Bucket(containing: event.time.milliseconds, width: bucketWidth).start
        case .losesIDs: event.id = nil
        case .losesMetadata: event.metadata = nil
        case .losesMicroseconds: event.time = Timestamp(milliseconds: event.time.milliseconds)
        case .composesText: event.payload = event.payload.precomposedStringWithCanonicalMapping
        case .trimsPayloads: event.payload = event.payload.replacing("{ ", with: "{")
        default: break
        }
        return event
    }

    /// Fills batches from a list that was made when the reader was opened.
    private final class FaultyReader: LedgerReader {
        private let ledger: FaultyLedger
        private let span: PositionSpan
        private var after: Position?
        private var isOver = false
        private var rest: ArraySlice<LedgerEvent>

        init(_ ledger: FaultyLedger, _ span: PositionSpan) {
            self.ledger = ledger
            self.span = span
            rest = ledger.events(of: span)[...]
            if ledger.fault == .sharesItsReader { ledger.common.withLock { $0 = span.after } }
        }

        func fill(_ batch: EventBatch) -> Bool {
            let fault = ledger.fault
            if fault != .leavesTheBatch { batch.removeAll() }
            if fault != .keepsTheWidth { batch.bucketWidth = ledger.bucketWidth }
            if fault == .sharesTooMuch { batch.share = 100 }
            if fault == .fillsEmptyBatches, !isOver {
                isOver = true
                return true
            }
            if fault == .sharesItsReader { return fillInCommon(batch) }
            if fault == .seesLaterEvents, rest.isEmpty, !isOver {
                isOver = true
                let last = batch.lastPosition ?? span.through
                rest = ledger.sound.events(in: PositionSpan(after: last, through: everything))[...]
            }
            if rest.isEmpty, fault == .beginsAgain {
                if isOver { rest = ledger.events(of: span)[...] }
                isOver.toggle()
            }
            var bytes = 0
            while let event = rest.first, bytes < 1 << 20 {
                rest.removeFirst()
                bytes += event.payload.utf8.count
                if fault == .splitsAtAMegabyte, event.payload.utf8.count > 1 << 20 { continue }
                batch.append(ledger.shown(event))
            }
            return bytes > 0 && batch.count > 0
        }

        private var everything: Position { FaultyLedger.everything.through }

        private func fillInCommon(_ batch: EventBatch) -> Bool {
            let after = ledger.common.withLock { $0 }
            let page = ledger.sound.events(in: PositionSpan(after: after, through: span.through))
            for event in page.prefix(1_000) { batch.append(event) }
            ledger.common.withLock { $0 = batch.lastPosition ?? $0 }
            return batch.count > 0
        }
    }

    private struct Watch: LedgerWatch {
        let answer: @Sendable () -> Bool

        init(_ answer: @escaping @Sendable () -> Bool) {
            self.answer = answer
        }

        func hasChanged() -> Bool { answer() }
    }

    private final class LazyWatch: LedgerWatch {
        private let ledger: MemoryLedger
        private let watch = Mutex<(any LedgerWatch)?>(nil)

        init(ledger: MemoryLedger) {
            self.ledger = ledger
        }

        func hasChanged() throws -> Bool {
            try watch.withLock { watch in
                if let watch { return try watch.hasChanged() }
                watch = ledger.watch()
                return false
            }
        }
    }
}
