/**
 * The `container` table and its lines in memory. A line changes with every batch of rows that is
 * applied to the container; it is written once per batch, checked by its own CRC when it is read.
 */
import { crc32 } from 'node:zlib';
import { OperatingError } from '#base/errors.ts';
import type { PolicyIndex } from '#base/names.ts';
import {
  type Timestamp,
  timestampFromBytes,
  timestampToBytes,
  ZERO_TIMESTAMP,
} from '#base/timestamp.ts';
import type { Database, Statement } from '#env/env.ts';
import { type Sum, sumFromBytes, sumToBytes, zeroSum } from './digest.ts';

/** What is known of a container or account beside its rows. */
export interface ContainerLine {
  /** 0: not in the table yet. */
  id: number;
  readonly ring: PolicyIndex;
  readonly hash: Buffer;
  readonly path: string;
  /** Raised by one with every row that changes. */
  sequence: number;
  /** Listed rows, their bytes, and (accounts) the objects in them. */
  rows: number;
  bytes: number;
  objects: number;
  /** All rows, hidden ones and the own state too. */
  total: number;
  /** That rows were forgotten. */
  marks: number;
  newest: Timestamp;
  digest: Sum;
}

type RawLine = [
  id: number,
  ring: number,
  hash: Buffer,
  path: string,
  sequence: number,
  rows: number,
  bytes: number,
  objects: number,
  total: number,
  marks: number,
  newest: Buffer,
  digest: Buffer,
  crc: number,
  reported: number,
  reportedCrc: number,
];

const COLUMNS =
  'id, ring, hash, path, sequence, rows, bytes, objects, total, marks, newest, digest, crc, reported, reported_crc';

export function emptyLine(ring: PolicyIndex, hash: Buffer, path: string): ContainerLine {
  return {
    id: 0,
    ring,
    hash: Buffer.from(hash),
    path,
    sequence: 0,
    rows: 0,
    bytes: 0,
    objects: 0,
    total: 0,
    marks: 0,
    newest: ZERO_TIMESTAMP,
    digest: zeroSum(),
  };
}

export function copyLine(line: ContainerLine): ContainerLine {
  return { ...line, digest: line.digest.slice() };
}

export class ContainerTable {
  readonly #find: Statement<RawLine>;
  readonly #byId: Statement<RawLine>;
  readonly #next: Statement<RawLine>;
  readonly #range: Statement<RawLine>;
  readonly #insert: Statement<unknown>;
  readonly #update: Statement<unknown>;
  readonly #unreported: Statement<RawLine>;
  readonly #markReported: Statement<unknown>;
  readonly #remove: Statement<unknown>;

  constructor(db: Database) {
    const from = `SELECT ${COLUMNS} FROM container`;
    this.#find = db.prepare<RawLine>(`${from} WHERE ring = ? AND hash = ?`).raw();
    this.#byId = db.prepare<RawLine>(`${from} WHERE id = ?`).raw();
    this.#next = db.prepare<RawLine>(`${from} WHERE id > ? ORDER BY id LIMIT 1`).raw();
    this.#range = db
      .prepare<RawLine>(
        `${from} WHERE ring = ? AND hash >= ? AND hash < ? AND total > 0 ORDER BY hash LIMIT ?`,
      )
      .raw();
    this.#insert = db.prepare(
      `INSERT INTO container (ring, hash, path, sequence, rows, bytes, objects, total, marks, newest, digest, crc, reported, reported_crc)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ${reportedCheck(0)})`,
    );
    this.#update = db.prepare(
      `UPDATE container SET sequence = ?, rows = ?, bytes = ?, objects = ?, total = ?, marks = ?, newest = ?, digest = ?, crc = ?
       WHERE id = ?`,
    );
    this.#unreported = db
      .prepare<RawLine>(
        `${from} WHERE sequence > reported AND ring = ? AND id > ? AND total > 0 ORDER BY id LIMIT ?`,
      )
      .raw();
    this.#remove = db.prepare('DELETE FROM container WHERE id = ?');
    this.#markReported = db.prepare(
      'UPDATE container SET reported = ?, reported_crc = ? WHERE id = ? AND reported < ? AND sequence >= ?',
    );
  }

  find(ring: PolicyIndex, hash: Buffer): ContainerLine | undefined {
    const raw = this.#find.get(ring, hash);
    return raw && parseLine(raw);
  }

  /** A line that rows refer to. */
  byId(id: number): ContainerLine {
    const raw = this.#byId.get(id);
    if (raw === undefined) throw damagedLine(`no line ${id}`);
    return parseLine(raw);
  }

  /** The line after this id. */
  next(id: number): ContainerLine | undefined {
    const raw = this.#next.get(id);
    return raw && parseLine(raw);
  }

  /** Lines with rows and from <= hash < to (undefined: the end), in hash order. */
  range(ring: PolicyIndex, from: Buffer, to: Buffer | undefined, limit: number): ContainerLine[] {
    return this.#range.all(ring, from, to ?? AFTER_ALL_HASHES, limit).map(parseLine);
  }

  remove(id: number): void {
    this.#remove.run(id);
  }

  /** Inserts a line that has no id yet (and sets it), or writes it again. */
  save(line: ContainerLine): void {
    const { sequence, rows, bytes, objects, total, marks } = line;
    const newest = timestampToBytes(line.newest);
    const digest = sumToBytes(line.digest);
    const crc = lineCheck(line, newest, digest);
    if (line.id !== 0) {
      this.#update.run(sequence, rows, bytes, objects, total, marks, newest, digest, crc, line.id);
      return;
    }
    const { ring, hash, path } = line;
    const { lastInsertRowid } = this.#insert.run(
      ring,
      hash,
      path,
      sequence,
      rows,
      bytes,
      objects,
      total,
      marks,
      newest,
      digest,
      crc,
    );
    line.id = Number(lastInsertRowid);
  }

  /** Lines after id `after` that changed since their totals were last acknowledged by the account. */
  unreported(ring: PolicyIndex, after: number, limit: number): ContainerLine[] {
    return this.#unreported.all(ring, after, limit).map(parseLine);
  }

  markReported(id: number, sequence: number): void {
    this.#markReported.run(sequence, reportedCheck(sequence), id, sequence, sequence);
  }
}

const AFTER_ALL_HASHES = Buffer.alloc(17, 0xff);

/** `newest` and `digest` as they are stored. */
function lineCheck(line: Checked, newest: Buffer, digest: Buffer): number {
  const { ring, path, sequence, rows, bytes, objects, total, marks } = line;
  const facts = `${ring} ${sequence} ${rows} ${bytes} ${objects} ${total} ${marks} ${newest.toString('hex')} ${path}`;
  return crc32(digest, crc32(line.hash, crc32(facts)));
}

/** Beside the line's own: it is written without a look at the line. */
function reportedCheck(reported: number): number {
  return crc32(`reported ${reported}`);
}

type Checked = Omit<ContainerLine, 'id' | 'newest' | 'digest'>;

/** After a flipped byte a column may be of any type. @throws OperatingError `rows-damaged` */
function parseLine(raw: RawLine): ContainerLine {
  const [id, ring, hash, path, sequence, rows, bytes, objects, total, marks, ...rest] = raw;
  const [newest, digest, crc, reported, reportedCrc] = rest;
  const checked = { ring, hash, path, sequence, rows, bytes, objects, total, marks };
  const isWhole =
    [hash, newest, digest].every((column) => Buffer.isBuffer(column)) &&
    typeof path === 'string' &&
    lineCheck(checked, newest, digest) === crc &&
    reportedCheck(reported) === reportedCrc;
  if (!isWhole) throw damagedLine(String(path));
  return { id, ...checked, newest: timestampFromBytes(newest), digest: sumFromBytes(digest) };
}

function damagedLine(which: string): OperatingError {
  return new OperatingError('rows-damaged', 'a line of the container table fails its checksum', {
    which,
  });
}
