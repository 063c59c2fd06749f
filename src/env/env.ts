/**
 * The effects: everything a module may do to the world outside its own memory. `env/node` is the
 * real implementation, `env/sim` the seeded twin in which a whole cluster runs on virtual time.
 * Modules receive what they use; nothing here is ambient.
 */

export interface Env {
  readonly clock: Clock;
  readonly random: Random;
  readonly disk: Disk;
  readonly network: Network;
  readonly log: Log;
}

/** Time. Wall time orders writes (through the hybrid clock); monotonic time measures and waits. */
export interface Clock {
  /** Wall clock, microseconds since 1970. May jump. */
  wallMicros(): number;
  /** Never goes back; milliseconds with a fraction, from an arbitrary start. */
  monotonicMs(): number;
  /** Runs `task` once after `ms`; never before the current turn of the event loop has ended. */
  setTimer(ms: number, task: () => void): Timer;
  /** Resolves after `ms`; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Runs `task` when the current turn's I/O callbacks are done (setImmediate): used to batch. */
  defer(task: () => void): void;
}

export interface Timer {
  cancel(): void;
}

export interface Random {
  /** Unpredictable bytes (in the simulator: seeded). */
  bytes(length: number): Buffer;
  /** Uniform in [0, 1). */
  float(): number;
  /** Uniform integer in [0, below), below <= 2^32. */
  integer(below: number): number;
}

/** Files. Errors are Node's (`ENOSPC`, `EIO`, `EROFS`, `ENOENT`) in both implementations. */
export interface Disk {
  /** `synced`: each write is durable when it resolves, for less than a write and a sync cost (O_DSYNC). */
  open(path: string, mode: OpenMode, synced?: 'synced'): Promise<DiskFile>;
  /** For a large body that is written once: must not exist. */
  createStream(path: string): Promise<StreamFile>;
  /** For bytes that are read once: large bodies, audits. Must exist. */
  openScan(path: string): Promise<ScanFile>;
  /** Makes the folder and the missing ones above it; durable when it resolves. */
  mkdir(path: string): Promise<void>;
  /** Names in a folder, sorted. */
  list(path: string): Promise<string[]>;
  /** Undefined where there is nothing. */
  stat(path: string): Promise<FileStat | undefined>;
  statSync(path: string): FileStat | undefined;
  read(path: string): Promise<Buffer>;
  /** Writes a temporary file, syncs it, renames it over `path`, syncs the folder. */
  replace(path: string, bytes: Uint8Array, permissions?: number): Promise<void>;
  replaceSync(path: string, bytes: Uint8Array, permissions?: number): void;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  removeTree(path: string): Promise<void>;
  /** fsync of a folder: a new or renamed name in it is durable only after this. */
  syncDirectory(path: string): Promise<void>;
  space(path: string): Promise<{ readonly totalBytes: number; readonly freeBytes: number }>;
  /**
   * An SQLite database (WAL, synchronous=NORMAL unless `durable`, which syncs every commit). In the
   * simulator it keeps an image at each synced commit, so that a crash can revert to it.
   * `checkpoint` runs on another thread and connection: checkpoints sync, and a sync must not stop
   * the event loop.
   */
  openDatabase(path: string, options?: DatabaseOptions): Database;
}

/** read: must exist. write: read and write, must exist. create: read and write, must not exist. */
export type OpenMode = 'read' | 'write' | 'create';

export interface FileStat {
  readonly kind: 'file' | 'directory' | 'other';
  readonly size: number;
  /** Changes when the path names another file: device, inode number and time of birth as text. */
  readonly identity: string;
  /** Number of the file system, to tell a lost mount point. */
  readonly fileSystem: string;
  readonly modifiedMs: number;
}

export interface DiskFile {
  /** Reads exactly `length` bytes, fewer only at the end of the file. */
  read(position: number, length: number): Promise<Buffer>;
  /**
   * The same at once, for small reads that are probably in the page cache: an asynchronous read
   * costs five times its CPU. Blocks the event loop when they are not.
   */
  readSync(position: number, length: number): Buffer;
  /** Gathers the parts at `position`; resolves when the kernel has them (not synced, unless opened so). */
  write(position: number, parts: readonly Uint8Array[]): Promise<void>;
  /** fdatasync. After a rejection the file's durability is unknown for ever: never retried. */
  sync(): Promise<void>;
  truncate(length: number): Promise<void>;
  size(): Promise<number>;
  stat(): Promise<FileStat>;
  close(): Promise<void>;
}

/** A file that is written in order, from its beginning, by one writer; past the page cache where it can. */
export interface StreamFile {
  /** One at a time; the parts must be left alone until it resolves. */
  append(parts: readonly Uint8Array[]): Promise<void>;
  /** Hands over what was kept back. Nothing is appended after it. */
  flush(): Promise<void>;
  /** After `flush`: makes all of it durable (its name: `syncDirectory`). Never retried. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** A file that is read past the page cache where it can be. */
export interface ScanFile {
  /** Reads exactly `length` bytes, fewer only at the end of the file. */
  read(position: number, length: number): Promise<Buffer>;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  readonly durable?: boolean;
  readonly cacheKiB?: number;
  /** A second look at what is in the file, past the cache of the connection that writes it. */
  readonly readOnly?: boolean;
}

/** The part of better-sqlite3's interface that is used; see its documentation for the semantics. */
export interface Database {
  prepare<Row = unknown>(sql: string): Statement<Row>;
  exec(sql: string): void;
  /** Runs `body` in BEGIN IMMEDIATE ... COMMIT; rolls back when it throws. */
  transaction<Result>(body: () => Result): Result;
  pragma(text: string): unknown;
  /** A complete WAL checkpoint (and its sync), off the event loop. True: nothing was left over. */
  checkpoint(): Promise<boolean>;
  /**
   * SQLite's own look at every page and every index of the file, off the event loop, through a
   * connection of its own. Undefined: nothing is wrong; else the first thing that is.
   */
  verify(): Promise<string | undefined>;
  close(): void;
}

export type SqlValue = string | number | bigint | null | Uint8Array;

export interface Statement<Row> {
  run(...values: SqlValue[]): {
    readonly changes: number;
    readonly lastInsertRowid: number | bigint;
  };
  get(...values: SqlValue[]): Row | undefined;
  all(...values: SqlValue[]): Row[];
  iterate(...values: SqlValue[]): IterableIterator<Row>;
  /** The first column only. */
  pluck(on?: boolean): this;
  /** Rows as arrays. */
  raw(on?: boolean): this;
}

/** TCP, as far as the wire needs it. HTTP servers live at the edge (api, main) and are not here. */
export interface Network {
  listen(
    address: Address,
    accept: (socket: Socket) => void,
    options?: ListenOptions,
  ): Promise<Listener>;
  /** @throws ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ECONNRESET and what TLS reports */
  connect(address: Address, options?: ConnectOptions): Promise<Socket>;
}

export interface Address {
  readonly host: string;
  /** 0 in `listen`: any free port. */
  readonly port: number;
}

export interface ListenOptions {
  /** Mutual TLS: a client without a certificate of `authority` is not accepted. */
  readonly tls?: TlsOptions;
}

export interface ConnectOptions {
  readonly timeoutMs?: number;
  /** One way, added to everything sent and received: `--rtt` makes the WAN felt on one machine. */
  readonly delayMs?: number;
  readonly tls?: TlsOptions;
}

export interface TlsOptions {
  readonly key: string;
  readonly certificate: string;
  readonly authority: string;
  /** `connect`: the name that the other side's certificate must carry, where it is not the host. */
  readonly serverName?: string;
}

/** The subject of a verified certificate. */
export interface PeerCertificate {
  readonly commonName: string;
  readonly organization: string | undefined;
  readonly locality: string | undefined;
  readonly units: readonly string[];
  /** Hexadecimal, upper case. */
  readonly serial: string;
}

export interface Listener {
  readonly address: Address;
  /** With TLS: from now on new connections get these; open ones go on. */
  renew(tls: TlsOptions): void;
  /** Accepts no more; connections that were accepted go on. */
  close(): Promise<void>;
}

/** No callback is called from inside a call of the same socket. */
export interface Socket {
  readonly remote: Address;
  /** With TLS: what the peer's verified certificate says. */
  readonly peerCertificate?: PeerCertificate;
  /**
   * False: `onDrain` will be called when the buffered bytes have left. The bytes belong to the socket
   * from now on: they must not be changed.
   */
  write(bytes: Uint8Array): boolean;
  /** Bytes accepted by write() that have not left yet. */
  readonly bufferedBytes: number;
  /** Holds back small writes until `uncork`, so that they leave in one system call. */
  cork(): void;
  uncork(): void;
  /** Nothing is read before this is set. The bytes belong to the receiver and are not overwritten. */
  onData: (bytes: Buffer) => void;
  onDrain: () => void;
  /** Called once, whoever closed it. */
  onClose: (error?: Error) => void;
  pause(): void;
  resume(): void;
  /** Sends what is buffered, then closes. */
  end(): void;
  destroy(): void;
}

/** Structured events: a stable dotted name, facts as fields, no secrets. */
export interface Log {
  debug(event: string, facts?: Record<string, unknown>): void;
  info(event: string, facts?: Record<string, unknown>): void;
  warn(event: string, facts?: Record<string, unknown>): void;
  error(event: string, facts?: Record<string, unknown>): void;
  /** The same log with these facts in every line. */
  with(facts: Record<string, unknown>): Log;
}
