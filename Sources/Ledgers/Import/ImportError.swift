/// Why an import stopped before the end of its file.
///
/// What stands before the place it names is stored.
package struct ImportError: Error, Equatable, Sendable {
    /// The file, or `standard input`.
    package let file: String
    /// The bad line, or the last one read when the file itself is at fault; nil when it could not
    /// be opened.
    package let line: Int?
    /// What is wrong, as a clause; never the content.
    package let reason: String
    /// The ledger's path.
    package let ledger: String
    /// What the run did until then.
    package let counts: ImportProgress
    /// How many bad lines were allowed, when one too many is the cause; otherwise nil.
    package let skipBad: Int?
}

extension ImportError: CustomStringConvertible {
    /// The message for people: three lines.
    ///
    /// Wording may change in any release.
    package var description: String {
        """
        \(whatHappened)
        Nothing that readers see has changed; \(whatIsStored).
        \(whatNext)
        """
    }

    private var whatHappened: String {
        guard let line else { return "\(file) cannot be opened: \(reason)." }
        if skipBad == nil {
            return "\(file) cannot be read beyond line \(line): \(reason)."
        }
        return "\(file), line \(line), is not an event: \(reason)."
    }

    private var whatIsStored: String {
        var parts = ["\(counts.stored) events were stored in '\(ledger)'"]
        if counts.present > 0 { parts.append("\(counts.present) were there already") }
        if counts.setAside > 0 {
            parts.append("\(counts.setAside) bad lines were set aside in '\(ledger).bad.ndjson'")
        }
        return parts.joined(separator: ", ")
    }

    private var whatNext: String {
        let again = "import the file again; what is stored is not doubled"
        guard line != nil else { return "Check the path and its permissions, then \(again)." }
        guard let skipBad else { return "Get a whole copy and \(again)." }
        return "Correct the line and \(again)."
            + " Or set bad lines aside with '--skip-bad \(max(1, skipBad * 2))'."
    }
}
