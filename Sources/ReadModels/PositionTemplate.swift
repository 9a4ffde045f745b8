import Postgres
import ProjectionKit

/// Two statements of the operator's that read and write the position of a projector that does not
/// keep it in `reprise.checkpoint`.
package struct PositionTemplate: Equatable, Sendable {
    /// What is wrong with a template, or with what it is made of.
    package struct Complaint: Error, Equatable {
        /// The setting, such as `write`.
        package let field: String
        /// What is wrong with it, as the end of a sentence.
        package let reason: String

        /// Makes a complaint.
        package init(_ field: String, _ reason: String) {
            self.field = field
            self.reason = reason
        }
    }

    /// Locks the position and gives it: one row of one column, no row or NULL for the beginning.
    package let read: String
    /// Writes it: changes exactly one row.
    package let write: String
    let format: PositionFormat

    /// Takes statements as an operator wrote them.
    ///
    /// - Parameters:
    ///   - read: The statement that locks and gives the position; `{projection}` stands for the
    ///     projection's name as a quoted text.
    ///   - write: The statement that writes it; `{position}` stands for the position, a number or
    ///     a quoted text, `{generation}` for the generation's number.
    ///   - format: How the position is written down.
    /// - Throws: ``Complaint``.
    package init(read: String, write: String, format: PositionFormat) throws(Complaint) {
        for (field, text) in [("read", read), ("write", write)] {
            guard text.contains(where: { !$0.isWhitespace }) else {
                throw Complaint(field, "is empty")
            }
            guard !text.utf8.contains(0) else { throw Complaint(field, "holds a zero byte") }
        }
        guard write.contains(Mark.position) else {
            throw Complaint("write", "does not say where {position} goes")
        }
        for mark in [Mark.position, Mark.generation] where read.contains(mark) {
            throw Complaint("read", "cannot know \(mark)")
        }
        self.read = read
        self.write = write
        self.format = format
    }

    private enum Mark {
        static let projection = "{projection}"
        static let position = "{position}"
        static let generation = "{generation}"
    }

    /// The statement that locks and gives the position.
    func reading(of projection: String) -> String {
        read.replacing(Mark.projection, with: SQLText.literal(projection))
    }

    /// The statement that writes a position, as the operator wrote it; nil when the format cannot
    /// hold the position.
    func statement(
        for position: Position?,
        generation: Int,
        of projection: String
    ) -> String? {
        format.literal(of: position).map { literal in
            write
                .replacing(Mark.position, with: literal)
                .replacing(Mark.generation, with: "\(generation)")
                .replacing(Mark.projection, with: SQLText.literal(projection))
        }
    }

    /// The statement that writes a position and raises unless it changes exactly one row, and reading
    /// gives the position afterwards; nil when the format cannot hold the position.
    func writing(_ position: Position?, generation: Int, of projection: String) -> String? {
        let statement = statement(for: position, generation: generation, of: projection)
        guard let statement else { return nil }
        let written = format.condition(that: "found", is: position)
        let body = """
            DECLARE
                changed pg_catalog.int8;
                found pg_catalog.text;
            BEGIN
            PERFORM pg_catalog.set_config('search_path', 'pg_temp', true);
            EXECUTE \(SQLText.literal(statement));
            GET DIAGNOSTICS changed = ROW_COUNT;
            IF changed <> 1 THEN
                RAISE EXCEPTION 'the position template changed % rows instead of one', changed
                    USING ERRCODE = '\(SwapBatch.SQLState.unwritten)', DETAIL = changed;
            END IF;
            EXECUTE \(SQLText.literal(reading(of: projection))) INTO found;
            IF \(written) THEN RETURN; END IF;
            RAISE EXCEPTION 'the position template reads another position than it has written'
                USING ERRCODE = '\(SwapBatch.SQLState.misread)';
            END
            """
        return "DO \(SQLText.literal(body))"
    }

    /// What the statement that reads has given.
    ///
    /// - Returns: The position; nil for the beginning.
    /// - Throws: ``Complaint`` when it is something else.
    func position(in result: QueryResult) throws(Complaint) -> Position? {
        guard result.columns.count == 1 else {
            throw Complaint("read", "gives \(result.columns.count) columns instead of one")
        }
        guard result.rows.count <= 1 else {
            throw Complaint("read", "gives \(result.rows.count) rows instead of one")
        }
        guard let text = result.first?[0] else { return nil }
        guard let position = format.position(from: text) else {
            throw Complaint(
                "read",
                "gives a text that is no position in the format '\(format.rawValue)'"
            )
        }
        return position == Position(0) ? nil : position
    }
}
