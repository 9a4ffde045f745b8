internal import Foundation
internal import ProjectionKit
internal import Wording

/// Numbers as people read them, the same in every locale.
enum Figures {
    /// `1,234,567`.
    static func count(_ number: Int) -> String {
        let digits = String(number.magnitude)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0 && (digits.count - index).isMultiple(of: 3) { text.append(",") }
            text.append(digit)
        }
        return number < 0 ? "-" + text : text
    }

    /// `1 event`, `2 events`.
    static func count(_ number: Int, _ noun: String) -> String {
        "\(count(number)) \(noun)\(number == 1 ? "" : "s")"
    }

    /// A decimal number.
    static func decimal(_ number: Double, digits: Int) -> String {
        String(format: "%.\(digits)f", number)
    }

    /// `0.42 s`.
    static func seconds(_ seconds: Double) -> String { "\(decimal(seconds, digits: 2)) s" }

    /// `61.2 MiB`.
    static func mebibytes(_ bytes: Int) -> String {
        "\(decimal(Double(bytes) / 1_048_576, digits: 1)) MiB"
    }

    /// `2:05` or `1:02:05`.
    static func clock(_ seconds: Double) -> String {
        let total = Int(max(0, min(seconds, 359_999)).rounded())
        let (hours, minutes, rest) = (total / 3_600, total / 60 % 60, total % 60)
        return hours > 0
            ? String(format: "%d:%02d:%02d", hours, minutes, rest)
            : String(format: "%d:%02d", minutes, rest)
    }

    /// `1,234/s`; nothing sensible can be said of no time.
    static func rate(_ number: Int, in seconds: Double) -> String {
        seconds > 0 ? "\(count(Int(Double(number) / seconds)))/s" : "-/s"
    }

    /// A bucket width: `15 s`, `500 ms`, `1 h`.
    static func width(milliseconds: Int64) -> String {
        for (unit, length) in [("h", Int64(3_600_000)), ("min", 60_000), ("s", 1_000)]
        where milliseconds.isMultiple(of: length) {
            return "\(milliseconds / length) \(unit)"
        }
        return "\(milliseconds) ms"
    }
}

/// Labelled lines below a headline.
struct FieldList {
    private(set) var text = ""

    /// Adds a field of one or more lines; without lines, nothing.
    mutating func add(_ label: String, _ lines: [String]) {
        for (index, line) in lines.enumerated() {
            let name = index == 0 ? label : ""
            let pad = String(repeating: " ", count: max(1, 12 - name.count))
            text += "  " + name + pad + TextForPeople.line(line) + "\n"
        }
    }

    /// Adds a field of one line.
    mutating func add(_ label: String, _ line: String) { add(label, [line]) }
}

/// Columns of equal width.
enum Columns {
    /// Pads each column to its widest cell; columns named in `right` are aligned to the right.
    static func lines(_ cells: [[String]], right: Set<Int> = []) -> [String] {
        let rows = cells.map { $0.map { TextForPeople.line($0) } }
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in
            rows.map { $0.count > column ? $0[column].count : 0 }.max() ?? 0
        }
        return rows.map { row in
            let cells = row.enumerated().map { column, cell in
                let pad = String(repeating: " ", count: widths[column] - cell.count)
                return right.contains(column) ? pad + cell : cell + pad
            }
            let line = cells.joined(separator: "  ")
            return String(line.reversed().drop { $0 == " " }.reversed())
        }
    }
}

/// Names of tables and views.
enum SQLName {
    /// A qualified name without the quotes that it can do without: `public.order_line` for
    /// `"public"."order_line"`.
    static func plain(_ name: String) -> String {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false).map { part in
            let inner = part.dropFirst().dropLast()
            let needsNone =
                part.count > 2 && part.hasPrefix("\"") && part.hasSuffix("\"")
                && inner.allSatisfy {
                    $0.isASCII && ($0.isLowercase || $0.isNumber || $0 == "_")
                } && inner.first?.isNumber == false
            return needsNone ? inner : part
        }
        return parts.joined(separator: ".")
    }
}
