extension RowTable where Audience == TableAudience.Readers {
    package var obstacleToReadingBack: String? {
        (RowReader<Row>.obstacle() ?? KeyWriter<Row>.obstacle()).map {
            "of the row type of '\(name)' \($0)"
        }
    }

    package var wantedKeys: Int { storage.journal?.gaps?.wanted.count ?? 0 }

    package var heldRows: Int { storage.count }

    package func encodeWantedKeys(
        as types: [ColumnType],
        into buffer: inout RowBuffer
    ) throws {
        guard let wanted = storage.journal?.gaps?.wanted else { return }
        let writer = try KeyWriter<Row>()
        for key in wanted {
            buffer.append(Int16(Row.table.key.count))
            try writer.append(key.key, to: &buffer, as: types)
        }
    }

    package func admitWantedRows(
        as types: [ColumnType],
        _ feed: ((_ fields: [UnsafeRawBufferPointer?]) throws -> Void) throws -> Void
    ) throws {
        guard let gaps = storage.journal?.gaps else { return }
        let reader = try RowReader<Row>(types: types)
        let writer = try KeyWriter<Row>()
        let number = gaps.wanted.count
        try feed { fields in
            let row = try reader.row(fields)
            guard try writer.matches(row, as: types) else { throw RowObstacle.mixedUpKey(of: name) }
            let key = row.key
            guard gaps.wanted.remove(JournalKey(key, storage.texts)) != nil else { return }
            storage.insert(row, hash: storage.hash(key))
        }
        gaps.absent.formUnion(gaps.wanted)
        gaps.wanted.removeAll(keepingCapacity: true)
        gaps.wants.settle(number)
    }
}

extension RowObstacle {
    /// Rows would be asked for by another key than they are stored under.
    static func mixedUpKey(of table: String) -> RowObstacle {
        RowObstacle(
            clause: "the properties of the key type of '\(table)' do not stand in the order of its "
                + "key columns"
        )
    }
}
