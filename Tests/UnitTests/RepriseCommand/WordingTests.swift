import Testing

@testable import RepriseCommand

@Suite("Wording")
struct WordingTests {
    @Test(
        "the nearest name is offered, and a far one is not",
        arguments: [
            ("shpo", "shop"), ("SHOP", "shop"), ("shops", "shop"), ("loan", "loans"),
            ("warehouse", nil), ("x", nil),
        ]
    )
    func nearest(name: String, expected: String?) {
        #expect(Spelling.nearest(to: name, among: ["shop", "loans"]) == expected)
    }

    @Test("the distance of two words counts the letters to change")
    func distance() {
        #expect(Spelling.distance("kitten", "sitting") == 3)
        #expect(Spelling.distance("", "abc") == 3)
        #expect(Spelling.distance("abc", "") == 3)
        #expect(Spelling.distance("same", "same") == 0)
        #expect(Spelling.distance("shpo", "shop") == 1)
    }

    @Test("numbers are grouped by three digits")
    func counts() {
        #expect(
            [0, 999, 1_000, 1_234_567, -1_000].map { Figures.count($0) } == [
                "0", "999", "1,000", "1,234,567", "-1,000",
            ]
        )
        #expect(Figures.count(1, "event") == "1 event")
        #expect(Figures.count(2, "event") == "2 events")
        #expect(Figures.rate(10, in: 0) == "-/s")
        #expect(Figures.rate(3_000, in: 2) == "1,500/s")
    }

    @Test("times are written as a clock")
    func clock() {
        #expect(
            [0.2, 59.6, 125, 3_725, .infinity].map(Figures.clock) == [
                "0:00", "1:00", "2:05", "1:02:05", "99:59:59",
            ]
        )
    }

    @Test("a bucket width is read with its unit")
    func bucketWidths() {
        let read = { BucketWidth(argument: $0)?.milliseconds }
        #expect(["500ms", "15s", "1m", "24h"].map(read) == [500, 15_000, 60_000, 86_400_000])
        for text in ["15", "s", "0s", "-1s", "1.5s", "25h", "1d", "15 s", "9223372036854775808s"] {
            #expect(read(text) == nil, "\(text)")
        }
        #expect(
            [500, 15_000, 60_000, 3_600_000].map(Figures.width) == [
                "500 ms", "15 s", "1 min", "1 h",
            ]
        )
    }

    @Test("columns are as wide as their widest cell, without blanks at the end")
    func columns() {
        let rows = [["a", "10"], ["long", "1", "x"]]
        #expect(Columns.lines(rows, right: [1]) == ["a     10", "long   1  x"])
    }

    @Test("a line of progress has a bar where there is room, and says the most important first")
    func progress() {
        func line(columns: Int?) -> String {
            ProgressText.line(
                "shop: folding",
                share: 0.5,
                left: 61,
                facts: ["10 events"],
                columns: columns
            )
        }
        let plain = "shop: folding 50 %, 1:01 left, 10 events"
        #expect(line(columns: nil) == plain)
        #expect(line(columns: plain.count + 1) == plain)
        let wide = line(columns: plain.count + 4 + 8)
        #expect(wide == "shop: folding [####----] 50 %, 1:01 left, 10 events")
        #expect(line(columns: 200).count == plain.count + 3 + 24)
        let unknown = ProgressText.line("reading", share: nil, left: nil, facts: ["10 events"])
        #expect(unknown == "reading 10 events")
    }

    @Test("a name keeps the quotes that it needs")
    func names() {
        #expect(SQLName.plain(#""public"."order_line""#) == "public.order_line")
        #expect(SQLName.plain(#""public"."Order""#) == #"public."Order""#)
        #expect(SQLName.plain(#""a.b"."c d""#) == #""a.b"."c d""#)
    }
}
