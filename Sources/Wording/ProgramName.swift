import Synchronization

/// The name by which people start the program: a team's program has another one than ours.
package enum ProgramName {
    private static let known = Mutex("reprise")

    /// As an argument of a shell command; `reprise` until a command begins.
    package static var current: String { known.withLock { $0 } }

    /// Takes the name from the first word of a command line.
    package static func take(from word: String?) {
        guard let name = word?.split(separator: "/").last, !name.isEmpty else { return }
        known.withLock { $0 = TextForPeople.argument(String(name)) }
    }
}
