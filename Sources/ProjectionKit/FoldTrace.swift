internal import CCrashReport

/// Which event a fold is at, for the report of a crash.
///
/// `@unchecked Sendable`: one thread at a time folds.
final class FoldTrace: @unchecked Sendable {
    private let fold: UnsafeMutablePointer<crash_fold>

    init(projection: String) {
        _ = Self.layout
        fold = crash_fold_make(projection)
    }

    deinit { crash_fold_free(fold) }

    /// Calls `body` with each event of a batch, in order, its texts read by a parser of the calling
    /// thread's: several threads may drain one batch, each by its own.
    func forEach(
        of batch: EventBatch,
        parsedBy parser: PayloadParser,
        _ body: (borrowing Event) throws -> Void
    ) rethrows {
        try batch.withRecords { records, texts in
            crash_fold_enter(fold, texts)
            defer { crash_fold_leave(fold) }
            for index in 0..<batch.count {
                crash_fold_note(fold, records + index)
                let event = Event(record: records[index], in: batch, parser: parser)
                try body(event)
            }
        }
    }

    /// Said once.
    private static let layout: Void = {
        func offset(_ field: PartialKeyPath<EventBatch.Record>) -> Int {
            guard let offset = MemoryLayout<EventBatch.Record>.offset(of: field) else {
                preconditionFailure("a record has no stored property \(field)")
            }
            return offset
        }
        crash_report_set_layout(
            crash_record_layout(
                position: offset(\.position),
                offset: offset(\.offset),
                stream_length: offset(\.streamLength),
                payload_length: offset(\.payloadLength),
                id_length: offset(\.idLength),
                type: offset(\.type)
            )
        )
    }()
}

/// Reports of crashes, which the command wants and a test does not.
package enum CrashReport {
    /// Reports crashes from now on, by the name under which the program is started.
    package static func begin(program: String) { crash_report_begin(program) }

    /// Writes reports as an object of JSON as well, until a result begins there.
    ///
    /// - Parameter descriptor: Where; nil for nowhere.
    package static func answer(on descriptor: Int32?) { crash_report_set_json(descriptor ?? -1) }

    /// Names the ledger that is read, as an argument of a shell command.
    package static func name(ledger argument: String) { crash_report_set_ledger(argument) }
}
