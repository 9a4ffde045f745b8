/// The places in the server's messages where values of rows stand, and the messages without them.
///
/// The forms are those of PostgreSQL's own sources (`BuildIndexValueDescription`,
/// `ExecBuildSlotValueDescription`, `CopyFromErrorCallback`). What has no known form, such as a
/// message in another language, is cut rather than shown where the kind of error can carry values.
struct RowValues {
    /// The SQLSTATE of the error that the texts belong to.
    let sqlState: String

    /// `duplicate key … "orders_pkey"` stays; `invalid input syntax for type integer: "x"` loses x.
    func cut(fromMessage message: String) -> String {
        guard sqlState.hasPrefix("22") else { return message }
        for opening in [": \"", "value \""] {
            guard let start = message.firstRange(of: opening),
                let end = message.lastIndex(of: "\""), start.upperBound <= end
            else { continue }
            return message[..<start.upperBound] + "…" + message[end...]
        }
        return message
    }

    /// Cuts the values of a key: `Key (id)=(5) already exists` becomes `Key (id)=(…) already exists`.
    func cut(fromDetail detail: String) -> String {
        let holdsRows = sqlState.hasPrefix("23")
        guard holdsRows || sqlState.hasPrefix("22") else { return detail }
        if detail.hasPrefix("Key ("), let equals = detail.firstRange(of: ")=(") {
            return detail[..<equals.upperBound] + "…)" + tail(ofKeyDetail: detail)
        }
        for opening in ["Failing row contains (", "Partition key of the failing row contains ("]
        where detail.hasPrefix(opening) {
            return opening + "…)."
        }
        let isPlain = !holdsRows && !detail.contains(where: { "\"'(«„“:".contains($0) })
        return isPlain ? detail : "(not shown: it may hold values)"
    }

    private func tail(ofKeyDetail detail: String) -> Substring {
        for ending in [") already exists.", ") is duplicated."] where detail.hasSuffix(ending) {
            return ending[...].dropFirst()
        }
        for phrase in [
            ") is not present in table \"", ") is still referenced from table \"",
        ] {
            if let last = detail.ranges(of: phrase).last {
                return detail[last.lowerBound...].dropFirst()
            }
        }
        return detail.contains(") conflicts with ") ? " conflicts with another key." : ""
    }

    /// `COPY t, line 3, column v: "x"` becomes `COPY t, line 3, column v`.
    func cut(fromContext context: String) -> String {
        var kept: [Substring] = []
        var isInsideValue = false
        for line in context.split(separator: "\n", omittingEmptySubsequences: false) {
            if isInsideValue {
                // A value may hold line breaks; it ends with the quote that ends a line.
                isInsideValue = !line.hasSuffix("\"")
                continue
            }
            let place = place(in: line)
            // A piece of JSON is cut off at the end of its line, in the middle of a text or not.
            let isPieceOfJSON = line.hasPrefix("JSON data, line ")
            isInsideValue =
                place.map { !isPieceOfJSON && hasOpenQuote(line.dropFirst($0.count)) } ?? false
            let isCut = place == nil && kept.last == "…"
            if !isCut { kept.append(place ?? "…") }
        }
        return kept.joined(separator: "\n")
    }

    /// The part of a line of CONTEXT that says where, without values; nil when it has no known form.
    private func place(in line: Substring) -> Substring? {
        if line.hasPrefix("COPY ") {
            guard let number = line.firstRange(of: ", line ") else {
                return line.prefix { $0 != "," && $0 != ":" }
            }
            return line.prefix(
                upTo: line[number.upperBound...].firstIndex(of: ":") ?? line.endIndex
            )
        }
        if line.hasPrefix("JSON data, line ") { return line.prefix { $0 != ":" } }
        if line.hasPrefix("SQL statement \"") { return "SQL statement" }
        let known = ["PL/pgSQL function ", "SQL function ", "while ", "processing "]
        return known.contains(where: line.hasPrefix) ? line : nil
    }

    private func hasOpenQuote(_ rest: Substring) -> Bool {
        guard let quote = rest.firstIndex(of: "\"") else { return false }
        return quote == rest.indices.last || !rest.hasSuffix("\"")
    }
}
