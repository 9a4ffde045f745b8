import Wording

/// Why an import stopped before the end of its file, or did not begin.
///
/// What stands before the place it names is stored.
package struct ImportError: Error, Equatable, Sendable {
    /// What kind of reason it is.
    package enum Kind: Hashable, Sendable {
        /// The file cannot be opened.
        case unopened
        /// The file is something else than records.
        case otherFormat
        /// Its compressed data are damaged. Nothing of it was stored.
        case damaged
        /// It cannot be read beyond a place.
        case unreadable
        /// A record is not an event, or not one that the ledger takes.
        case badRecord
        /// Its content was imported before.
        case importedBefore
        /// It is not what the ledger knows under the source's name.
        case otherContent
    }

    /// What kind of reason it is.
    package let kind: Kind
    /// The file as it is shown: its path in quotes, or `Standard input`.
    package let file: String
    /// The line or the element, such as `line 7`; nil where the whole file is meant.
    package let place: String?
    /// What is wrong, as a clause; never the content.
    package let reason: String
    /// What to do, a sentence; nil for the usual advice.
    package let advice: String?
    /// The ledger's path.
    package let ledger: String
    /// What the run did until then.
    package let counts: ImportProgress
    /// How many bad records were allowed.
    package let skipBad: Int
}

extension ImportError: CustomStringConvertible {
    /// The message for people: three lines.
    ///
    /// Wording may change in any release.
    package var description: String {
        """
        \(TextForPeople.line(whatHappened))
        Nothing that readers see has changed; \(whatIsStored).
        \(TextForPeople.line(advice ?? usualAdvice))
        """
    }

    private var whatHappened: String {
        let at = place.map { ", \($0)" } ?? ""
        return switch kind {
        case .unopened: "\(file) cannot be opened: \(reason)."
        case .otherFormat: "\(file) cannot be imported: \(reason)."
        case .damaged: "\(file) is damaged: \(reason)."
        case .unreadable: "\(file) cannot be read beyond \(place ?? "its beginning"): \(reason)."
        case .badRecord: "\(file)\(at), is not an event for this ledger: \(reason)."
        case .importedBefore, .otherContent: "\(file) was not imported: \(reason)."
        }
    }

    private var whatIsStored: String {
        guard counts.stored + counts.present + counts.setAside > 0 else {
            return "nothing was stored in \(TextForPeople.path(ledger))"
        }
        var parts = [
            "\(counts.stored) event\(counts.stored == 1 ? " was" : "s were") stored in \(TextForPeople.path(ledger))"
        ]
        if counts.present > 0 { parts.append("\(counts.present) were there already") }
        if counts.setAside > 0 {
            let records = "\(counts.setAside) bad record\(counts.setAside == 1 ? " was" : "s were")"
            parts.append(
                "\(records) set aside in \(TextForPeople.path(counts.badRecordsPath ?? ""))"
            )
        }
        return parts.joined(separator: ", ")
    }

    private var usualAdvice: String {
        switch kind {
        case .unopened: "Check the path and its permissions, then run the same command again."
        case .otherFormat: "Write its events as NDJSON, a JSON array or CSV, and import that."
        case .damaged: "Get the file again from where it came, then run the same command again."
        case .unreadable:
            "Correct the file or get it again, then import it; what was stored is not stored twice."
        case .badRecord:
            "Correct it and run the same command again, which continues there;"
                + " or set bad records aside with '--skip-bad \(max(1, skipBad * 2))'."
        case .importedBefore: "To store its events once more, add '--again'."
        case .otherContent: "Import it under another '--source' name."
        }
    }
}
