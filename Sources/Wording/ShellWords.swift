/// The words of a command as a shell reads them.
package struct ShellWords {
    /// Without the marks that quote them.
    package private(set) var words: [String] = []
    /// Where the command ends: before a quotation mark that begins no word, which ends a quotation
    /// around it, or at the end of the text.
    package private(set) var end: Substring.Index

    private enum Place {
        case plain
        case quoted
        /// Inside `$'…'`, where a backslash escapes a character.
        case escaped
    }

    /// Reads a command from the beginning of a text.
    package init(of text: Substring) {
        var place = Place.plain
        var word: String?
        // What a quotation mark may open a quotation behind.
        var isOpening = true
        var index = text.startIndex
        end = text.endIndex
        while index < text.endIndex {
            let character = text[index]
            let next = text.index(after: index)
            switch (place, character) {
            case (.plain, "'"):
                guard isOpening else {
                    end = index
                    index = text.endIndex
                    continue
                }
                place = word?.last == "$" ? .escaped : .quoted
                if place == .escaped { word?.removeLast() }
                word = word ?? ""
            case (.plain, " "):
                if let word { words.append(word) }
                word = nil
                isOpening = true
            case (.plain, "\\") where next < text.endIndex:
                word = (word ?? "") + String(text[next])
                isOpening = true
                index = text.index(after: next)
                continue
            case (.quoted, "'"), (.escaped, "'"):
                place = .plain
                isOpening = false
            case (.escaped, "\\") where next < text.endIndex:
                word?.append(text[next])
                index = text.index(after: next)
                continue
            default:
                word = (word ?? "") + String(character)
                if place == .plain { isOpening = character == "$" || character == "=" }
            }
            index = next
        }
        if let word { words.append(word) }
    }
}
