/// One line of a plan: an object or a circumstance, and what a rebuild makes of it.
package struct Finding: Equatable, Sendable {
    /// What the line means for the rebuild.
    package enum Level: String, CaseIterable, Sendable {
        /// It is carried over, or it is as it should be.
        case ok
        /// It does not stop the rebuild, and should be known.
        case warn
        /// It stops the rebuild.
        case refuse
    }

    /// What the line means for the rebuild.
    package let level: Level
    /// The object or circumstance, such as `trigger audit on public.orders`; nil when the note
    /// says it.
    package let subject: String?
    /// How it is carried over, or why it stops the rebuild and what works instead.
    package let note: String

    /// Makes a line.
    package init(_ level: Level, _ subject: String?, _ note: String) {
        self.level = level
        self.subject = subject
        self.note = note
    }

    /// Subject and note as one sentence.
    package var text: String { subject.map { "\($0): \(note)" } ?? note }
}
