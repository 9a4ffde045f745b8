internal import Postgres
internal import TestSupport
internal import Testing

@Suite("The catalogue")
struct PostgresCatalogueTests {
    @Test("a table with every kind of column")
    func columns() async throws {
        try await withScratchDatabase { database in
            try await database.execute(
                """
                CREATE SCHEMA "S 1";
                CREATE DOMAIN "S 1".word AS varchar(20) NOT NULL;
                CREATE DOMAIN "S 1".name AS "S 1".word;
                CREATE TYPE "S 1".mood AS ENUM ('good', 'bad');
                CREATE UNLOGGED TABLE "S 1"."T ""x" (
                    id bigint GENERATED ALWAYS AS IDENTITY,
                    gone int,
                    label varchar(20) NOT NULL,
                    name "S 1".name,
                    tags text[] DEFAULT '{}',
                    mood "S 1".mood,
                    moods "S 1".mood[],
                    amount numeric(10, 2),
                    twice bigint GENERATED ALWAYS AS (id * 2) STORED
                );
                ALTER TABLE "S 1"."T ""x" DROP COLUMN gone
                """
            )
            let name = QualifiedName(schema: "S 1", name: "T \"x")
            let found = try await database.withConnection {
                try await Catalogue.table(name, on: $0)
            }
            let table = try #require(found)
            #expect(table.name == name)
            #expect(table.kind == "r")
            #expect(table.persistence == "u")
            #expect(table.estimatedRows == -1)
            #expect(table.totalBytes > 0)
            #expect(
                table.columns.map(\.name) == [
                    "id", "label", "name", "tags", "mood", "moods", "amount", "twice",
                ]
            )
            #expect(table.columns.map(\.number) == [1, 3, 4, 5, 6, 7, 8, 9])
            #expect(
                table.columns.map(\.typeName) == [
                    "bigint", "character varying(20)", "\"S 1\".name", "text[]", "\"S 1\".mood",
                    "\"S 1\".mood[]", "numeric(10,2)", "bigint",
                ]
            )
            #expect(
                table.columns.map(\.baseType) == [
                    "int8", "varchar", "varchar", "_text", "mood", "_mood", "numeric", "int8",
                ]
            )
            #expect(table.columns.map(\.typeKind) == ["b", "b", "d", "b", "e", "b", "b", "b"])
            #expect(
                table.columns.map(\.elementType) == [nil, nil, nil, "text", nil, "mood", nil, nil]
            )
            #expect(table.columns.filter(\.isNotNull).map(\.name) == ["id", "label", "name"])
            #expect(table.columns.filter(\.hasDefault).map(\.name) == ["tags"])
            #expect(table.columns.filter(\.isIdentity).map(\.name) == ["id"])
            #expect(table.columns.filter(\.isGenerated).map(\.name) == ["twice"])
        }
    }

    @Test("the OID finds a table that was moved and renamed")
    func byOID() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                try await connection.execute(
                    "CREATE TABLE public.t (id int); INSERT INTO public.t VALUES (1), (2)"
                )
                try await connection.execute("ANALYZE public.t")
                let name = QualifiedName(schema: "public", name: "t")
                let before = try #require(try await Catalogue.table(name, on: connection))
                #expect(before.estimatedRows == 2)
                try await connection.execute(
                    "CREATE SCHEMA home; ALTER TABLE public.t SET SCHEMA home"
                )
                let after = try await Catalogue.tables(oids: [before.oid], on: connection).first
                #expect(after?.name == QualifiedName(schema: "home", name: "t"))
                #expect(after?.columns == before.columns)
                let gone = try await Catalogue.table(name, on: connection)
                #expect(gone == nil)
            }
        }
    }

    @Test("several tables come in the order in which they were asked for, those that exist")
    func several() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                try await connection.execute(
                    """
                    CREATE SCHEMA "Odd ""name";
                    CREATE TABLE public.t (id int, label text);
                    CREATE TABLE "Odd ""name".t (name text);
                    CREATE TABLE public.empty ()
                    """
                )
                let names = [
                    QualifiedName(schema: "Odd \"name", name: "t"),
                    QualifiedName(schema: "public", name: "missing"),
                    QualifiedName(schema: "public", name: "empty"),
                    QualifiedName(schema: "public", name: "t"),
                ]
                let found = try await Catalogue.tables(names, on: connection)
                #expect(found.map(\.name) == [names[0], names[2], names[3]])
                #expect(
                    found.map { $0.columns.map(\.name) } == [["name"], [], ["id", "label"]]
                )
                let oids = [found[2].oid, UInt32.max, found[0].oid]
                let again = try await Catalogue.tables(oids: oids, on: connection)
                #expect(again == [found[2], found[0]])
                #expect(try await Catalogue.tables([], on: connection).isEmpty)
            }
        }
    }

    @Test("a table without columns is there all the same, an index is no table")
    func oddRelations() async throws {
        try await withScratchDatabase { database in
            try await database.withConnection { connection in
                try await connection.execute(
                    "CREATE TABLE public.empty (); CREATE TABLE public.t (id int PRIMARY KEY)"
                )
                let empty = try await Catalogue.table(
                    QualifiedName(schema: "public", name: "empty"),
                    on: connection
                )
                #expect(empty?.columns == [])
                let index = try await Catalogue.table(
                    QualifiedName(schema: "public", name: "t_pkey"),
                    on: connection
                )
                #expect(index == nil)
            }
        }
    }
}
