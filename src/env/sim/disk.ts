/**
 * A process's view of its machine's disk. An operation takes a random time, then happens at once, then
 * is reported: in between, other operations and a crash find their way.
 */
import type {
  Database,
  DatabaseOptions,
  Disk,
  DiskFile,
  FileStat,
  OpenMode,
  ScanFile,
  StreamFile,
} from '../env.ts';
import { SimDatabase } from './database.ts';
import type { DatabaseStore } from './database-store.ts';
import { type DiskOperation, diskError, type FaultAction, flipIfAsked, isLost } from './faults.ts';
import { SimFile } from './file.ts';
import { FileContent } from './file-content.ts';
import { type Host, machineDown } from './host.ts';
import { SimStreamFile } from './stream-file.ts';
import type { DirectoryNode, FileNode, Node } from './tree.ts';
import { describeNode, sizeOf, splitPath, type Volume } from './volume.ts';

export class SimDisk implements Disk {
  readonly #host: Host;
  readonly volume: Volume;

  constructor(host: Host, volume: Volume) {
    this.#host = host;
    this.volume = volume;
  }

  open(path: string, mode: OpenMode, synced?: 'synced'): Promise<DiskFile> {
    return this.run(
      'open',
      path,
      0,
      () => new SimFile(this, path, this.#openNode(path, mode), mode, synced !== undefined),
    );
  }

  async createStream(path: string): Promise<StreamFile> {
    return new SimStreamFile(await this.open(path, 'create'));
  }

  openScan(path: string): Promise<ScanFile> {
    return this.open(path, 'read');
  }

  mkdir(path: string): Promise<void> {
    return this.run('mkdir', path, 0, () => {
      let directory = this.volume.tree.root;
      for (const name of splitPath(path)) {
        const node = directory.entries.get(name);
        if (node?.kind === 'file') throw diskError('EEXIST', 'mkdir', path);
        directory = node ?? this.#addDirectory(directory, name);
      }
    });
  }

  list(path: string): Promise<string[]> {
    return this.run('list', path, 0, () =>
      [...this.volume.directoryAt(path).entries.keys()].sort(),
    );
  }

  stat(path: string): Promise<FileStat | undefined> {
    return this.run('stat', path, 0, () => this.#statNow(path));
  }

  statSync(path: string): FileStat | undefined {
    return this.runSync('stat', path, () => this.#statNow(path));
  }

  read(path: string): Promise<Buffer> {
    return this.run('read', path, 0, (actions) => {
      const file = this.volume.fileAt(path);
      const bytes = file.database?.image() ?? file.content.read(0, file.content.length);
      return flipIfAsked(bytes, actions, this.volume.random);
    });
  }

  replace(path: string, bytes: Uint8Array): Promise<void> {
    const copy = Buffer.from(bytes);
    return this.run('replace', path, copy.length, (actions) =>
      this.#replaceNow(path, copy, actions),
    );
  }

  replaceSync(path: string, bytes: Uint8Array): void {
    this.runSync('replace', path, (actions) => this.#replaceNow(path, bytes, actions));
  }

  rename(from: string, to: string): Promise<void> {
    return this.run('rename', from, 0, () => {
      const source = this.volume.place(from, 'rename');
      const target = this.volume.place(to, 'rename');
      if (source.node === undefined) throw diskError('ENOENT', 'rename', from);
      if (target.node === source.node) return;
      checkReplaceable(source.node, target.node, to);
      this.volume.tree.change(
        { directory: source.directory, name: source.name, node: undefined },
        { directory: target.directory, name: target.name, node: source.node },
      );
      this.volume.usageChanged();
    });
  }

  unlink(path: string): Promise<void> {
    return this.run('unlink', path, 0, () => {
      const { directory, name, node } = this.volume.place(path, 'unlink');
      if (node === undefined) throw diskError('ENOENT', 'unlink', path);
      if (node.kind === 'directory') throw diskError('EISDIR', 'unlink', path);
      this.volume.tree.change({ directory, name, node: undefined });
      this.volume.usageChanged(-sizeOf(node));
    });
  }

  removeTree(path: string): Promise<void> {
    return this.run('unlink', path, 0, () => {
      if (this.volume.find(path) === undefined) return;
      const { directory, name } = this.volume.place(path);
      this.volume.tree.change({ directory, name, node: undefined });
      this.volume.usageChanged();
    });
  }

  syncDirectory(path: string): Promise<void> {
    const before = this.volume.tree.position;
    return this.run('syncDirectory', path, 0, (actions) => {
      const directory = this.volume.directoryAt(path, 'syncDirectory');
      if (!isLost(actions)) this.volume.tree.commitDirectory(directory, before);
    });
  }

  space(path: string): Promise<{ totalBytes: number; freeBytes: number }> {
    return this.run('space', path, 0, () => ({
      totalBytes: this.volume.settings.capacityBytes,
      freeBytes: this.volume.freeBytes,
    }));
  }

  openDatabase(path: string, options: DatabaseOptions = {}): Database {
    const file = this.runSync('database', path, () => this.#databaseFile(path));
    const store = this.volume.databaseOf(file);
    if (options.durable) this.volume.tree.commit((change) => change.node === file);
    const gate = {
      check: (operation: 'read' | 'write') => this.#checkDatabase(path, operation),
      checkpoint: () => this.#checkpoint(path, file, store),
    };
    if (options.readOnly) return new SimDatabase(store.copy(), gate, false, true);
    return new SimDatabase(store, gate, options.durable ?? false);
  }

  // --- how operations run, also those of files

  /**
   * `effect` happens when the time has passed. Where the process ends before, it may still happen, and
   * nobody is told.
   */
  run<Result>(
    operation: DiskOperation,
    path: string,
    bytes: number,
    effect: (actions: FaultAction[]) => Result,
  ): Promise<Result> {
    if (!this.#host.alive) return Promise.reject(machineDown(this.#host.machine.name));
    return new Promise((resolve, reject) => {
      const actions = this.volume.faults.hit(operation, path);
      const attempt = (): Result => {
        failIfAsked(actions, operation, path);
        return effect(actions);
      };
      const finish = this.volume.begin(attempt);
      this.#host.schedule(this.#delayMs(operation, bytes, actions), `${operation} ${path}`, () => {
        finish();
        try {
          resolve(attempt());
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  /** At once, blocking. */
  runSync<Result>(
    operation: DiskOperation,
    path: string,
    effect: (actions: FaultAction[]) => Result,
  ): Result {
    this.#host.assertAlive();
    const actions = this.volume.faults.hit(operation, path);
    failIfAsked(actions, operation, path);
    return effect(actions);
  }

  #delayMs(operation: DiskOperation, bytes: number, actions: FaultAction[]): number {
    const { readMs, writeMs, syncMs, bytesPerMs } = this.volume.settings;
    const mean = isRead(operation) ? readMs : isSync(operation) ? syncMs : writeMs;
    let delayMs = this.volume.random.delay(mean) + bytes / bytesPerMs;
    for (const action of actions) if (action.kind === 'delay') delayMs += action.ms;
    return delayMs;
  }

  // --- what they do

  #openNode(path: string, mode: OpenMode): FileNode {
    const { directory, name, node } = this.volume.place(path);
    if (mode === 'create') {
      if (node !== undefined) throw diskError('EEXIST', 'open', path);
      if (this.volume.freeBytes === 0) throw diskError('ENOSPC', 'open', path);
      const made = this.volume.tree.makeFile(this.volume.nowMs);
      this.volume.tree.change({ directory, name, node: made });
      return made;
    }
    const file = this.volume.fileAt(path);
    if (file.database !== undefined) showDatabaseAsFile(file, mode);
    return file;
  }

  /** Durable at once, as the interface promises. */
  #addDirectory(parent: DirectoryNode, name: string): DirectoryNode {
    const { tree, nowMs } = this.volume;
    const made = tree.makeDirectory(nowMs, parent.fileSystem);
    tree.force(parent, name, made);
    return made;
  }

  #statNow(path: string): FileStat | undefined {
    const node = this.volume.find(path);
    if (node === undefined) return undefined;
    return describeNode(node, this.fileSystemOf(path));
  }

  fileSystemOf(path: string): number {
    let directory = this.volume.tree.root;
    for (const name of splitPath(path)) {
      const node = directory.entries.get(name);
      if (node?.kind !== 'directory') break;
      directory = node;
    }
    return directory.fileSystem;
  }

  #replaceNow(path: string, bytes: Uint8Array, actions: FaultAction[]): void {
    const { tree } = this.volume;
    const { directory, name, node } = this.volume.place(path, 'replace');
    if (node?.kind === 'directory') throw diskError('EISDIR', 'replace', path);
    if (bytes.length > this.volume.freeBytes) throw diskError('ENOSPC', 'replace', path);
    if (isLost(actions)) return;
    tree.force(directory, name, tree.makeFile(this.volume.nowMs, new FileContent(bytes)));
    this.volume.usageChanged(bytes.length - (node === undefined ? 0 : sizeOf(node)));
  }

  #databaseFile(path: string): FileNode {
    const { directory, name, node } = this.volume.place(path, 'database');
    if (node?.kind === 'directory') throw databaseError('SQLITE_CANTOPEN', path);
    if (node !== undefined) return node;
    const made = this.volume.tree.makeFile(this.volume.nowMs);
    this.volume.tree.change({ directory, name, node: made });
    return made;
  }

  #checkDatabase(path: string, operation: 'read' | 'write'): void {
    this.#host.assertAlive();
    failIfAsked(this.volume.faults.hit('database', path), 'database', path);
    if (operation === 'write' && this.volume.freeBytes === 0) {
      throw databaseError('SQLITE_FULL', path);
    }
  }

  /** What was committed before it began is synced when it ends. */
  #checkpoint(path: string, file: FileNode, store: DatabaseStore): Promise<boolean> {
    const commits = store.commitCount;
    const isBusy = this.volume.random.chance(this.volume.settings.checkpointBusyProbability);
    return this.run('checkpoint', path, 0, (actions) => {
      if (this.volume.find(path) !== file) throw databaseError('SQLITE_CANTOPEN', path);
      if (isBusy) return false;
      if (isLost(actions)) return true;
      store.markSynced(commits);
      this.volume.tree.commit((change) => change.node === file);
      this.volume.usageChanged();
      return true;
    });
  }
}

function failIfAsked(
  actions: readonly FaultAction[],
  operation: DiskOperation,
  path: string,
): void {
  for (const action of actions) {
    if (action.kind !== 'error') continue;
    const isDatabase = operation === 'database' || operation === 'checkpoint';
    throw isDatabase
      ? databaseError(sqliteCode(action.code), path)
      : diskError(action.code, operation, path);
  }
}

function isRead(operation: DiskOperation): boolean {
  return (
    operation === 'read' || operation === 'open' || operation === 'stat' || operation === 'list'
  );
}

function isSync(operation: DiskOperation): boolean {
  return ['sync', 'syncDirectory', 'replace', 'checkpoint', 'mkdir'].includes(operation);
}

function checkReplaceable(source: Node, target: Node | undefined, to: string): void {
  if (target === undefined || (source.kind === 'file' && target.kind === 'file')) return;
  if (source.kind === 'file') throw diskError('EISDIR', 'rename', to);
  if (target.kind === 'file') throw diskError('ENOTDIR', 'rename', to);
  if (target.entries.size > 0) throw diskError('ENOTEMPTY', 'rename', to);
}

/** Somebody reads, or writes into, a database's file: a copy, or the end of the live database. */
function showDatabaseAsFile(file: FileNode, mode: OpenMode): void {
  file.content = new FileContent(file.database!.image());
  if (mode === 'write') file.database = undefined;
}

function sqliteCode(code: string): string {
  if (code.startsWith('SQLITE_')) return code;
  if (code === 'ENOSPC') return 'SQLITE_FULL';
  if (code === 'EROFS') return 'SQLITE_READONLY';
  return 'SQLITE_IOERR';
}

function databaseError(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: '${path}'`), { code, path, name: 'SqliteError' });
}
