import Wording

/// An error that the server reported.
package struct ServerError: Error, Hashable, Sendable {
    /// The five characters that say what kind of error it is, such as `23505` (PostgreSQL manual,
    /// appendix A); empty when libpq reports a breach of the protocol by itself.
    package let sqlState: String
    /// `ERROR`, `FATAL` or `PANIC`, in English whatever the server speaks.
    package let severity: String
    /// The message.
    ///
    /// Of data exceptions (class 22) it can quote a value.
    package let message: String
    /// More about it.
    ///
    /// It can hold row values.
    package let detail: String?
    /// What the server suggests.
    package let hint: String?
    /// Where in functions or in COPY data it happened.
    ///
    /// It can hold row values.
    package let context: String?
    /// The schema that the error is about.
    package let schema: String?
    /// The table that the error is about.
    package let table: String?
    /// The column that the error is about.
    package let column: String?
    /// The constraint that the error is about.
    package let constraint: String?
    /// Where in the statement the error lies, in characters from 1.
    package let position: Int?

    /// An error with the fields that the server sent.
    package init(
        sqlState: String,
        severity: String = "ERROR",
        message: String,
        detail: String? = nil,
        hint: String? = nil,
        context: String? = nil,
        schema: String? = nil,
        table: String? = nil,
        column: String? = nil,
        constraint: String? = nil,
        position: Int? = nil
    ) {
        self.sqlState = sqlState
        self.severity = severity
        self.message = message
        self.detail = detail
        self.hint = hint
        self.context = context
        self.schema = schema
        self.table = table
        self.column = column
        self.constraint = constraint
        self.position = position
    }
}

extension ServerError {
    /// Whether the same call may succeed a little later without anybody changing anything: the server
    /// stops, starts or recovers, the connection broke, or there is none left.
    package var isTransient: Bool {
        sqlState.hasPrefix("08") || ["57P01", "57P02", "57P03", "53300"].contains(sqlState)
    }
}

extension ServerError: CustomStringConvertible {
    /// The message, then SQLSTATE, DETAIL, HINT and CONTEXT, a line each.
    ///
    /// Row values are cut out; names of keys and columns and line numbers stay.
    package var description: String {
        let values = RowValues(sqlState: sqlState)
        return text(
            message: values.cut(fromMessage: message),
            detail: detail.map(values.cut(fromDetail:)),
            context: context.map(values.cut(fromContext:))
        )
    }

    /// The same with everything that the server said, row values included: for a user who asked
    /// for them.
    package var descriptionWithValues: String {
        text(message: message, detail: detail, context: context)
    }

    private func text(message: String, detail: String?, context: String?) -> String {
        var lines = [shown(message)]
        if !sqlState.isEmpty { lines.append("SQLSTATE: \(shown(sqlState))") }
        if let detail { lines.append("DETAIL: \(shown(TextForPeople.oneLine(detail)))") }
        if let hint { lines.append("HINT: \(shown(hint))") }
        if let context { lines.append("CONTEXT: \(shown(TextForPeople.oneLine(context)))") }
        return lines.joined(separator: "\n")
    }

    /// Functions and triggers of others write messages as well.
    private func shown(_ text: String) -> String { TextForPeople.line(text, most: 4_000) }
}
