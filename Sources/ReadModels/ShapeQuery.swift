/// The SQL that takes the shape of tables apart into features.
///
/// Parameters: `$1` the OIDs of the tables, `$2` the schema whose tables the statements are for.
/// With the tables' own schema first on the search path, and in pretty form, definitions print
/// unqualified what belongs there, so that those of two generations can be compared.
enum ShapeQuery {
    /// A row for each feature, with the name of its table.
    static let features = """
        WITH relation AS (
            SELECT c.*, pg_catalog.format('%I.%I', $2::pg_catalog.text, c.relname) AS target
            FROM pg_catalog.pg_class AS c WHERE c.oid = ANY ($1::pg_catalog.oid[])
        ),
        column_of AS (
            SELECT a.*, r.relname, r.target, r.relpersistence, pg_catalog.quote_ident(a.attname) AS quoted,
                pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I ', r.target, a.attname) AS alter
            FROM relation AS r
            JOIN pg_catalog.pg_attribute AS a
                ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
        ),
        constraint_of AS (
            SELECT o.*, r.relname, r.target, pg_catalog.pg_get_constraintdef(o.oid, true) AS text,
                pg_catalog.quote_ident(o.conname) AS quoted,
                o.contype IN ('p', 'u') AND NOT x.indisexclusion AS is_built_first,
                CASE
                    WHEN o.contype = 'f' THEN 'keys'
                    WHEN o.contype = 'c' AND o.convalidated THEN 'table'
                    ELSE 'rows'
                END AS phase
            FROM relation AS r
            JOIN pg_catalog.pg_constraint AS o
                ON o.conrelid = r.oid AND o.contype IN ('p', 'u', 'x', 'f', 'c')
            -- One WITHOUT OVERLAPS cannot be made of an index that is there.
            LEFT JOIN pg_catalog.pg_index AS x ON x.indexrelid = o.conindid
            -- A key to a partitioned table has one of its own for each partition.
            WHERE NOT EXISTS (
                SELECT FROM pg_catalog.pg_constraint AS u
                WHERE u.oid = o.conparentid AND u.conrelid = o.conrelid)
        ),
        \(indexes),
        statistics AS (
            SELECT s.*, r.relname, r.target, pg_catalog.quote_ident(s.stxname) AS quoted,
                pg_catalog.format('%I.%I', $2::pg_catalog.text, s.stxname) AS name,
                pg_catalog.pg_get_statisticsobjdef(s.oid) AS text,
                pg_catalog.format('CREATE STATISTICS %s.%I',
                    s.stxnamespace::pg_catalog.regnamespace, s.stxname) AS head,
                pg_catalog.format(' FROM %s', r.oid::pg_catalog.regclass) AS tail
            FROM relation AS r
            JOIN pg_catalog.pg_statistic_ext AS s ON s.stxrelid = r.oid
        ),
        identity AS (
            SELECT a.*, s.seqrelid, s.seqtypid, s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
                s.seqcache, s.seqcycle, q.relname AS sequence_name,
                CASE q.relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE 'LOGGED' END AS persistence,
                q.relpersistence <> a.relpersistence AS has_own_persistence
            FROM column_of AS a
            JOIN pg_catalog.pg_depend AS d
                ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND d.deptype = 'i'
                AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            JOIN pg_catalog.pg_sequence AS s ON s.seqrelid = d.objid
            JOIN pg_catalog.pg_class AS q ON q.oid = s.seqrelid
        ),
        feature (table_name, key, value, twin, part_of, phase, rank, make, finish, change, removal)
        AS (
            \(objects) UNION ALL \(columns) UNION ALL \(settings) UNION ALL \(comments)
        )
        -- What was dropped since has no definition any more.
        SELECT * FROM feature WHERE value IS NOT NULL ORDER BY table_name, key
        """

    /// A row for each index that nothing can use.
    static let invalidIndexes = """
        SELECT c.relname AS table_name, pg_catalog.quote_ident(x.relname) AS name
        FROM pg_catalog.pg_index AS i
        JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
        JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid
        WHERE i.indrelid = ANY ($1::pg_catalog.oid[]) AND NOT i.indisvalid
        ORDER BY c.relname, x.relname
        """

    // What the server writes before the access method is known by heart, so it can be cut off.
    private static let indexes = """
        index_of AS (
            SELECT i.*, x.relname AS index_name, x.reltablespace, r.relname, r.target,
                pg_catalog.quote_ident(x.relname) AS quoted, x.reloptions,
                pg_catalog.format('%I.%I', $2::pg_catalog.text, x.relname) AS name,
                o.oid AS constraint_oid,
                CASE WHEN o.oid IS NULL THEN 'index ' ELSE 'constraint ' END
                    || pg_catalog.quote_ident(x.relname) AS part_of,
                f.head, f.text,
                CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || CASE
                    WHEN pg_catalog.starts_with(f.text, f.head)
                    THEN pg_catalog.substr(f.text, pg_catalog.length(f.head) + 1) END AS definition
            FROM relation AS r
            JOIN pg_catalog.pg_index AS i ON i.indrelid = r.oid AND i.indisvalid
            JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
            LEFT JOIN pg_catalog.pg_constraint AS o
                ON o.conindid = x.oid AND o.conrelid = r.oid AND o.contype IN ('p', 'u', 'x')
            CROSS JOIN LATERAL (
                SELECT pg_catalog.pg_get_indexdef(x.oid, 0, true) AS text,
                    pg_catalog.format('CREATE %sINDEX %I ON %s ',
                        CASE WHEN i.indisunique THEN 'UNIQUE ' END, x.relname,
                        r.oid::pg_catalog.regclass) AS head) AS f
        )
        """

    // A primary key or unique constraint is an index first: only the index says its options.
    private static let objects = """
        SELECT relname, 'index ' || quoted, definition, definition, NULL, 'rows', 11,
            pg_catalog.format('CREATE %sINDEX %I ON %s %s',
                CASE WHEN indisunique THEN 'UNIQUE ' END, index_name, target,
                pg_catalog.substr(definition, CASE WHEN indisunique THEN 8 ELSE 1 END)),
            NULL, NULL, 'DROP INDEX ' || name
        FROM index_of WHERE constraint_oid IS NULL
        UNION ALL
        SELECT o.relname, 'constraint ' || o.quoted,
            o.text || coalesce(' WITH (' || pg_catalog.array_to_string(i.reloptions, ', ') || ')',
                ''),
            CASE WHEN o.is_built_first THEN i.definition ELSE o.text END, NULL, o.phase,
            CASE o.contype WHEN 'p' THEN 10 WHEN 'f' THEN 20 WHEN 'c' THEN
                CASE WHEN o.convalidated THEN 3 ELSE 12 END ELSE 11 END,
            CASE
                WHEN o.is_built_first THEN pg_catalog.format(
                    'CREATE UNIQUE INDEX %I ON %s %s', o.conname, o.target,
                    pg_catalog.substr(i.definition, 8))
                ELSE pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s', o.target, o.conname,
                    o.text) || CASE WHEN o.contype = 'f' AND o.convalidated THEN ' NOT VALID'
                        ELSE '' END
            END,
            CASE
                WHEN o.is_built_first THEN pg_catalog.format(
                    'ALTER TABLE %s ADD CONSTRAINT %I %s USING INDEX %I%s%s', o.target, o.conname,
                    CASE o.contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, o.conname,
                    CASE WHEN o.condeferrable THEN ' DEFERRABLE' END,
                    CASE WHEN o.condeferred THEN ' INITIALLY DEFERRED' END)
                WHEN o.contype = 'f' AND o.convalidated THEN pg_catalog.format(
                    'ALTER TABLE %s VALIDATE CONSTRAINT %I', o.target, o.conname)
                -- One WITHOUT OVERLAPS, whose definition does not say them.
                WHEN i.reloptions IS NOT NULL THEN pg_catalog.format('ALTER INDEX %s SET (%s)', i.name,
                    pg_catalog.array_to_string(i.reloptions, ', '))
            END,
            NULL, pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', o.target, o.conname)
        FROM constraint_of AS o
        LEFT JOIN index_of AS i ON i.constraint_oid = o.oid AND o.contype IN ('p', 'u')
        UNION ALL
        SELECT relname, 'statistics ' || quoted, body, body, NULL, 'table', 4,
            'CREATE STATISTICS ' || name || body || ' FROM ' || target, NULL, NULL,
            'DROP STATISTICS ' || name
        FROM statistics
        CROSS JOIN LATERAL (
            SELECT pg_catalog.substr(text, pg_catalog.length(head) + 1,
                pg_catalog.length(text) - pg_catalog.length(head) - pg_catalog.length(tail)) AS body
            WHERE pg_catalog.starts_with(text, head)
                AND pg_catalog.right(text, pg_catalog.length(tail)) = tail) AS b
        """

    // Debian's PostgreSQL 15.20 stamps every column with an option of its own, pg_attver. It differs
    // from table to table, SET and RESET leave it as it is, pg_dump leaves it out, and older servers
    // do not know it.
    private static let columns = """
        SELECT relname, 'column ' || quoted, pg_catalog.format_type(atttypid, atttypmod), NULL,
            NULL, 'table', 0, NULL, NULL, NULL, NULL
        FROM column_of
        UNION ALL
        SELECT a.relname, 'default of column ' || a.quoted, v.value, NULL, 'column ' || a.quoted,
            'table', 2, v.make, NULL, v.change, NULL
        FROM column_of AS a
        LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        CROSS JOIN LATERAL (
            -- A default names no column. For one that may, the server makes the names of all columns
            -- anew, which takes the square of their number.
            SELECT pg_catalog.pg_get_expr(d.adbin,
                    CASE WHEN a.attgenerated <> '' THEN d.adrelid ELSE 0 END) AS text,
                CASE a.attidentity WHEN 'a' THEN 'GENERATED ALWAYS' ELSE 'GENERATED BY DEFAULT' END
                    AS identity) AS e
        CROSS JOIN LATERAL (
            SELECT e.text AS value, a.alter || 'SET DEFAULT ' || e.text AS make, NULL AS change
            WHERE a.attidentity = '' AND a.attgenerated = ''
            UNION ALL
            SELECT 'GENERATED ALWAYS AS (' || e.text || CASE a.attgenerated WHEN 'v' THEN ') VIRTUAL'
                ELSE ') STORED' END, NULL, NULL
            WHERE a.attgenerated <> ''
            UNION ALL
            SELECT e.identity || ' AS IDENTITY', a.alter || 'ADD ' || e.identity || ' AS IDENTITY',
                a.alter || 'SET ' || e.identity
            WHERE a.attidentity <> '') AS v
        WHERE v.value IS NOT NULL
        UNION ALL
        SELECT relname, 'sequence name of column ' || quoted, sequence_name, NULL,
            'default of column ' || quoted, 'table', 2,
            \(onSequence("ALTER SEQUENCE %s RENAME TO %I", argument: "sequence_name")),
            NULL, NULL, NULL
        FROM identity
        UNION ALL
        SELECT relname, 'sequence persistence of column ' || quoted, persistence, NULL,
            'default of column ' || quoted, 'table', 2,
            \(onSequence("ALTER SEQUENCE %s SET %s", argument: "persistence")),
            NULL, NULL, NULL
        FROM identity WHERE has_own_persistence
        UNION ALL
        SELECT relname, 'sequence options of column ' || quoted, o.options, NULL,
            'default of column ' || quoted, 'table', 2,
            \(onSequence("ALTER SEQUENCE %s %s RESTART", argument: "o.options")),
            NULL, NULL, NULL
        FROM identity
        CROSS JOIN LATERAL (
            SELECT pg_catalog.format('AS %s START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s '
                'CACHE %s %s', seqtypid::pg_catalog.regtype, seqstart, seqincrement, seqmin, seqmax,
                seqcache, CASE WHEN seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END) AS options) AS o
        UNION ALL
        SELECT relname, s.key || ' of column ' || quoted, s.value, NULL, 'column ' || quoted,
            'table', s.rank, alter || s.make, NULL, NULL, NULL
        FROM column_of
        CROSS JOIN LATERAL (
            SELECT 'statistics target' AS key, attstattarget::pg_catalog.text AS value, 2 AS rank,
                'SET STATISTICS ' || attstattarget AS make
            WHERE attstattarget >= 0
            UNION ALL
            SELECT o.option_name, o.option_value, 100 + o.place,
                pg_catalog.format('SET (%I = %L)', o.option_name, o.option_value)
            FROM pg_catalog.pg_options_to_table(attoptions)
                WITH ORDINALITY AS o (option_name, option_value, place)
            WHERE o.option_name <> 'pg_attver'
            UNION ALL
            SELECT 'not null', 'NOT NULL', 2, 'SET NOT NULL' WHERE attnotnull AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_constraint AS o
                WHERE o.conrelid = attrelid AND o.contype = 'n' AND o.conkey[1] = attnum)
            UNION ALL
            SELECT 'storage', n.name, 2, 'SET STORAGE ' || n.name
            FROM pg_catalog.pg_type AS t, LATERAL (SELECT CASE attstorage WHEN 'p' THEN 'PLAIN'
                WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END AS name) AS n
            WHERE t.oid = atttypid AND t.typstorage <> attstorage
            UNION ALL
            SELECT 'compression', n.name, 2, 'SET COMPRESSION ' || n.name
            FROM (SELECT CASE attcompression WHEN 'l' THEN 'lz4' ELSE 'pglz' END AS name) AS n
            WHERE attcompression <> '') AS s
        UNION ALL
        SELECT a.relname, 'not null of column ' || a.quoted, pg_catalog.format('%s named %s',
                pg_catalog.pg_get_constraintdef(o.oid), o.conname), NULL, 'column ' || a.quoted,
            CASE WHEN o.convalidated THEN 'table' ELSE 'rows' END,
            CASE WHEN o.convalidated THEN 2 ELSE 12 END,
            pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s', a.target, o.conname,
                pg_catalog.pg_get_constraintdef(o.oid)), NULL, NULL,
            pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', a.target, o.conname)
        FROM column_of AS a
        JOIN pg_catalog.pg_constraint AS o ON o.conrelid = a.attrelid AND o.contype = 'n'
            AND o.conkey[1] = a.attnum
        """

    // Options come last of all, in their own order, which pg_dump shows.
    private static let settings = """
        SELECT relname, s.key, s.value, NULL, s.part_of, s.phase, s.rank, s.make, NULL, NULL, NULL
        FROM relation
        CROSS JOIN LATERAL (
            SELECT 'access method' AS key, m.amname::pg_catalog.text AS value, NULL AS part_of,
                'table' AS phase, 0 AS rank,
                pg_catalog.format('ALTER TABLE %s SET ACCESS METHOD %I', target, m.amname) AS make
            FROM pg_catalog.pg_am AS m WHERE m.oid = relam
            UNION ALL
            SELECT 'tablespace', t.spcname, NULL, 'table', 1,
                pg_catalog.format('ALTER TABLE %s SET TABLESPACE %I', target, t.spcname)
            FROM pg_catalog.pg_tablespace AS t WHERE t.oid = reltablespace
            UNION ALL
            SELECT 'setting ' || o.option_name, o.option_value, NULL, 'table', 100 + o.place,
                pg_catalog.format('ALTER TABLE %s SET (%I = %L)', target, o.option_name,
                    o.option_value)
            FROM pg_catalog.pg_options_to_table(reloptions)
                WITH ORDINALITY AS o (option_name, option_value, place)
            UNION ALL
            SELECT 'setting toast.' || o.option_name, o.option_value, NULL, 'table',
                100 + o.place,
                pg_catalog.format('ALTER TABLE %s SET (toast.%I = %L)', target, o.option_name,
                    o.option_value)
            FROM pg_catalog.pg_class AS t, pg_catalog.pg_options_to_table(t.reloptions)
                WITH ORDINALITY AS o (option_name, option_value, place)
            WHERE t.oid = relation.reltoastrelid
            UNION ALL
            SELECT 'replica identity', n.name, NULL, 'table', 2,
                pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY %s', target, n.name)
            FROM (SELECT CASE relreplident WHEN 'f' THEN 'FULL' ELSE 'NOTHING' END AS name) AS n
            WHERE relreplident IN ('f', 'n')
            UNION ALL
            SELECT 'replica identity', 'USING INDEX ' || i.quoted, i.part_of, 'rows', 14,
                pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %s', target,
                    i.quoted)
            FROM index_of AS i
            WHERE i.indrelid = relation.oid AND relreplident = 'i' AND i.indisreplident
            UNION ALL
            SELECT 'CLUSTER mark', 'ON ' || i.quoted, i.part_of, 'rows', 14,
                pg_catalog.format('ALTER TABLE %s CLUSTER ON %s', target, i.quoted)
            FROM index_of AS i WHERE i.indrelid = relation.oid AND i.indisclustered) AS s
        UNION ALL
        SELECT i.relname, 'tablespace of index ' || i.quoted, t.spcname, NULL, i.part_of, 'rows',
            12, pg_catalog.format('ALTER INDEX %s SET TABLESPACE %I', i.name, t.spcname), NULL,
            NULL, NULL
        FROM index_of AS i
        JOIN pg_catalog.pg_tablespace AS t ON t.oid = i.reltablespace
        UNION ALL
        SELECT i.relname, pg_catalog.format('statistics target of column %s of index %s', a.attnum,
                i.quoted), a.attstattarget::pg_catalog.text, NULL, i.part_of, 'rows', 13,
            pg_catalog.format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS %s', i.name, a.attnum,
                a.attstattarget), NULL, NULL, NULL
        FROM index_of AS i
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indexrelid AND a.attstattarget >= 0
            AND a.attnum > 0
        UNION ALL
        SELECT i.relname, 'extensions of index ' || i.quoted, s.statement, NULL, i.part_of, 'rows', 14,
            s.statement, NULL, NULL, NULL
        FROM index_of AS i
        CROSS JOIN LATERAL (SELECT \(TableAttachments.extensions(
            of: "pg_class", "i.indexrelid", "'INDEX ' || i.name")) AS statement) AS s
        WHERE i.constraint_oid IS NULL AND s.statement IS NOT NULL
        UNION ALL
        SELECT relname, 'statistics target of statistics ' || quoted,
            stxstattarget::pg_catalog.text, NULL, 'statistics ' || quoted, 'table', 5,
            pg_catalog.format('ALTER STATISTICS %s SET STATISTICS %s', name, stxstattarget), NULL,
            NULL, NULL
        FROM statistics WHERE stxstattarget >= 0
        """

    private static let comments = """
        SELECT c.relname, 'comment of ' || c.object, c.text, NULL, c.part_of, c.phase,
            CASE c.phase WHEN 'table' THEN 6 WHEN 'rows' THEN 13 ELSE 21 END,
            coalesce(c.make, 'COMMENT ON ' || c.name || ' IS '
                || pg_catalog.quote_literal(c.text)), NULL, NULL, NULL
        FROM (
            SELECT relname, 'the table' AS object, NULL AS part_of, 'table' AS phase,
                'TABLE ' || target AS name, NULL AS make,
                pg_catalog.obj_description(oid, 'pg_class') AS text
            FROM relation
            UNION ALL
            SELECT relname, 'column ' || quoted, 'column ' || quoted, 'table',
                'COLUMN ' || target || '.' || quoted, NULL,
                pg_catalog.col_description(attrelid, attnum)
            FROM column_of
            UNION ALL
            SELECT relname, 'the sequence of column ' || quoted,
                'default of column ' || quoted, 'table', NULL,
                \(onSequence("COMMENT ON SEQUENCE %s IS %L", argument: "text")), text
            FROM (SELECT *, pg_catalog.obj_description(seqrelid, 'pg_class') AS text
                FROM identity) AS i
            UNION ALL
            SELECT relname, 'index ' || quoted, part_of, 'rows', 'INDEX ' || name, NULL,
                pg_catalog.obj_description(indexrelid, 'pg_class')
            FROM index_of
            UNION ALL
            SELECT relname, 'constraint ' || quoted, 'constraint ' || quoted, phase,
                'CONSTRAINT ' || quoted || ' ON ' || target, NULL,
                pg_catalog.obj_description(oid, 'pg_constraint')
            FROM constraint_of
            UNION ALL
            SELECT a.relname, pg_catalog.format('constraint %I', o.conname),
                'not null of column ' || a.quoted,
                CASE WHEN o.convalidated THEN 'table' ELSE 'rows' END,
                pg_catalog.format('CONSTRAINT %I ON %s', o.conname, a.target), NULL,
                pg_catalog.obj_description(o.oid, 'pg_constraint')
            FROM column_of AS a
            JOIN pg_catalog.pg_constraint AS o ON o.conrelid = a.attrelid AND o.contype = 'n'
                AND o.conkey[1] = a.attnum
            UNION ALL
            SELECT relname, 'statistics ' || quoted, 'statistics ' || quoted, 'table',
                'STATISTICS ' || name, NULL,
                pg_catalog.obj_description(oid, 'pg_statistic_ext')
            FROM statistics) AS c
        WHERE c.text IS NOT NULL
        """

    /// An expression for a statement about an identity column's sequence, whose name on the twin
    /// is found when it runs.
    private static func onSequence(_ statement: String, argument: String) -> String {
        """
        pg_catalog.format('DO %L', pg_catalog.format(
            'BEGIN EXECUTE pg_catalog.format(%L, '
                'pg_catalog.pg_get_serial_sequence(%L, %L)::pg_catalog.regclass, %L); END',
            '\(statement)', target, attname, \(argument)))
        """
    }
}
