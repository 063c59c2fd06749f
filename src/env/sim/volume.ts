/**
 * The disk of one simulated machine: it outlives processes and crashes. `SimDisk` is a process's view of
 * it; tests reach it as `machine.disk` to inject faults and to look at what is there.
 */
import type { FileStat } from '../env.ts';
import { DatabaseStore } from './database-store.ts';
import { diskError, type FaultRule, FaultRules } from './faults.ts';
import { FileContent } from './file-content.ts';
import type { Unsynced } from './host.ts';
import type { Prng } from './prng.ts';
import { type DirectoryNode, type FileNode, type Node, Tree } from './tree.ts';
import type { SimWorld } from './world.ts';

export interface VolumeOptions {
  readonly capacityBytes?: number;
  /** Means; every operation draws its own. */
  readonly readMs?: number;
  readonly writeMs?: number;
  readonly syncMs?: number;
  readonly bytesPerMs?: number;
  /** How often a checkpoint finds a reader in its way and answers false. */
  readonly checkpointBusyProbability?: number;
}

const DEFAULT_VOLUME = {
  capacityBytes: 100 * 2 ** 30,
  readMs: 0.1,
  writeMs: 0.05,
  syncMs: 1,
  bytesPerMs: 500_000,
  checkpointBusyProbability: 0.02,
} as const satisfies Required<VolumeOptions>;

/** Where a name is, or would be. */
export interface Place {
  readonly directory: DirectoryNode;
  readonly name: string;
  readonly node: Node | undefined;
}

export class Volume {
  readonly faults: FaultRules;
  readonly tree: Tree;
  readonly random: Prng;
  /** May be changed at any moment. */
  settings: Required<VolumeOptions>;
  readonly #world: SimWorld;
  readonly #name: string;
  /** Operations that were begun and have not been reported: a crash may leave them done or not. */
  readonly #inFlight = new Set<() => void>();
  readonly #unmounted = new Map<string, DirectoryNode>();
  #nextFileSystem = 2;
  #usedBytes: number | undefined;

  constructor(world: SimWorld, name: string, options: VolumeOptions = {}) {
    this.#world = world;
    this.#name = name;
    this.random = world.random(`${name} disk`);
    this.faults = new FaultRules(world.random(`${name} disk faults`));
    this.tree = new Tree(world.random(`${name} disk names`));
    this.settings = { ...DEFAULT_VOLUME, ...options };
  }

  // --- what processes use

  get nowMs(): number {
    return this.#world.startWallMs + this.#world.nowMs;
  }

  note(value: number): void {
    this.#world.trace.mix(value);
  }

  /** @throws ENOENT or ENOTDIR where a folder on the way is missing */
  place(path: string, operation = 'open'): Place {
    const names = splitPath(path);
    const name = names.pop();
    let directory: Node = this.tree.root;
    for (const part of names) {
      const next: Node | undefined = directory.entries.get(part);
      if (next === undefined) throw diskError('ENOENT', operation, path);
      if (next.kind !== 'directory') throw diskError('ENOTDIR', operation, path);
      directory = next;
    }
    if (name === undefined) return { directory, name: '', node: directory };
    return { directory, name, node: directory.entries.get(name) };
  }

  /** Undefined where there is nothing. */
  find(path: string): Node | undefined {
    try {
      return this.place(path).node;
    } catch {
      return undefined; // a folder on the way is missing, so there is nothing
    }
  }

  fileAt(path: string, operation = 'open'): FileNode {
    const { node } = this.place(path, operation);
    if (node === undefined) throw diskError('ENOENT', operation, path);
    if (node.kind !== 'file') throw diskError('EISDIR', operation, path);
    return node;
  }

  directoryAt(path: string, operation = 'list'): DirectoryNode {
    const { node } = this.place(path, operation);
    if (node === undefined) throw diskError('ENOENT', operation, path);
    if (node.kind !== 'directory') throw diskError('ENOTDIR', operation, path);
    return node;
  }

  /** Counted once, then kept by differences: every write asks. */
  get usedBytes(): number {
    if (this.#usedBytes === undefined) {
      this.#usedBytes = 0;
      for (const file of this.tree.files()) this.#usedBytes += sizeOf(file);
    }
    return this.#usedBytes;
  }

  /** By how much the files have grown; undefined: count again. */
  usageChanged(byBytes?: number): void {
    if (byBytes === undefined || this.#usedBytes === undefined) this.#usedBytes = undefined;
    else this.#usedBytes += byBytes;
  }

  get freeBytes(): number {
    return Math.max(0, this.settings.capacityBytes - this.usedBytes);
  }

  begin(effect: () => void): () => void {
    this.#inFlight.add(effect);
    return () => this.#inFlight.delete(effect);
  }

  // --- faults

  inject(rule: FaultRule): () => void {
    return this.faults.add(rule);
  }

  /** Damage at rest: flips bits of one byte of a file or database. By seed where nothing is given. */
  flipByte(path: string, position?: number, mask?: number): void {
    const file = this.fileAt(path);
    const size = sizeOf(file);
    if (size === 0) return;
    const at = position ?? this.random.integer(size);
    const bits = mask ?? 1 << this.random.integer(8);
    (file.database ?? file.content).damage(at, bits);
  }

  /** The file, folder or database is gone, durably, also under a running process. */
  lose(path: string): void {
    const { directory, name } = this.place(path);
    this.#force(directory, name, undefined);
  }

  /** A folder is emptied under the running process: open files go on into deleted ones. */
  wipe(path: string): void {
    const { directory, name, node } = this.place(path);
    if (node?.kind !== 'directory') throw diskError('ENOTDIR', 'wipe', path);
    this.#force(directory, name, this.tree.makeDirectory(this.nowMs, node.fileSystem));
  }

  /** A database is back at an earlier commit (a restored backup, a lost WAL). */
  revertDatabase(path: string, commits: number): void {
    this.fileAt(path).database?.revert(commits);
  }

  /** A file system of its own at this folder. */
  mount(path: string): void {
    const { directory, name } = this.place(path);
    const mounted = this.#unmounted.get(path);
    this.#unmounted.delete(path);
    const node = mounted ?? this.tree.makeDirectory(this.nowMs, this.#nextFileSystem++);
    this.#force(directory, name, node);
  }

  /** What is below disappears until `mount`; an empty folder of the file system above is left. */
  unmount(path: string): void {
    const { directory, name, node } = this.place(path);
    if (node?.kind !== 'directory') throw diskError('ENOTDIR', 'unmount', path);
    this.#unmounted.set(path, node);
    this.#force(directory, name, this.tree.makeDirectory(this.nowMs, directory.fileSystem));
  }

  /** Puts a file there, durably: a fixture. */
  plant(path: string, bytes: Uint8Array): void {
    const { directory, name } = this.place(path);
    this.#force(directory, name, this.tree.makeFile(this.nowMs, new FileContent(bytes)));
  }

  #force(directory: DirectoryNode, name: string, node: Node | undefined): void {
    this.tree.force(directory, name, node);
    this.usageChanged();
  }

  // --- the end of a process

  /** kill -9: system calls under way may have happened or not; the page cache stays. */
  endProcess(): void {
    for (const effect of this.#inFlight) if (this.random.chance(0.5)) attempt(effect);
    this.#inFlight.clear();
    for (const file of this.tree.files()) file.database?.endProcess();
  }

  crash(unsynced: Unsynced): void {
    this.endProcess();
    this.usageChanged();
    this.tree.crash(unsynced);
    const roots = [this.tree.root, ...this.#unmounted.values()];
    for (const root of roots) {
      this.tree.restore(root);
      for (const file of this.tree.files(root)) {
        file.content.crash(unsynced, this.random);
        file.database?.crash(unsynced, this.random);
      }
    }
  }

  /** The database in this file; a file that was none is taken as one. */
  databaseOf(file: FileNode): DatabaseStore {
    file.database ??= new DatabaseStore(file.content.read(0, file.content.length));
    return file.database;
  }

  /** When the world has ended. */
  dispose(): void {
    for (const root of [this.tree.root, ...this.#unmounted.values()])
      for (const file of this.tree.files(root)) file.database?.dispose();
  }

  get label(): string {
    return this.#name;
  }
}

export function describeNode(node: Node, fileSystem: number): FileStat {
  return {
    kind: node.kind,
    size: node.kind === 'file' ? sizeOf(node) : 4096,
    identity: `${fileSystem}:${node.number}`,
    fileSystem: String(fileSystem),
    modifiedMs: node.modifiedMs,
  };
}

export function sizeOf(file: FileNode): number {
  return file.database?.sizeBytes ?? file.content.length;
}

function attempt(effect: () => void): void {
  try {
    effect();
  } catch {
    // Nobody is left to be told: the process that asked has ended.
  }
}

/** @throws nothing: any text is some path; relative ones start at the root */
export function splitPath(path: string): string[] {
  const names: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') names.pop();
    else if (part !== '' && part !== '.') names.push(part);
  }
  return names;
}
