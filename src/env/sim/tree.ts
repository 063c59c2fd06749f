/**
 * The names of a simulated disk: folders, and which of their entries have been synced.
 *
 * A change of names (create, rename, unlink) is pending until its folder is synced; a crash keeps or
 * loses each pending change on its own, a rename always as a whole.
 */
import type { DatabaseStore } from './database-store.ts';
import { FileContent } from './file-content.ts';
import type { Unsynced } from './host.ts';
import type { Prng } from './prng.ts';

export interface FileNode {
  readonly kind: 'file';
  readonly number: number;
  content: FileContent;
  /** Set while the file is an SQLite database; its content is then in there. */
  database: DatabaseStore | undefined;
  modifiedMs: number;
}

export interface DirectoryNode {
  readonly kind: 'directory';
  readonly number: number;
  readonly fileSystem: number;
  readonly modifiedMs: number;
  entries: Map<string, Node>;
  /** As a crash would leave it, apart from the pending changes. */
  readonly durable: Map<string, Node>;
}

export type Node = FileNode | DirectoryNode;

interface Change {
  readonly directory: DirectoryNode;
  readonly name: string;
  readonly node: Node | undefined;
}

/** Changes that happen together or not at all. */
interface Operation {
  readonly number: number;
  readonly changes: readonly Change[];
}

export class Tree {
  readonly root: DirectoryNode;
  readonly #random: Prng;
  #pending: Operation[] = [];
  #nextNumber = 1;

  constructor(random: Prng) {
    this.#random = random;
    this.root = this.makeDirectory(0, 1);
  }

  makeFile(modifiedMs: number, content = new FileContent()): FileNode {
    return { kind: 'file', number: this.#nextNumber++, content, database: undefined, modifiedMs };
  }

  makeDirectory(modifiedMs: number, fileSystem: number): DirectoryNode {
    return {
      kind: 'directory',
      number: this.#nextNumber++,
      fileSystem,
      modifiedMs,
      entries: new Map(),
      durable: new Map(),
    };
  }

  change(...changes: Change[]): void {
    for (const { directory, name, node } of changes) setEntry(directory.entries, name, node);
    this.#pending.push({ number: this.#nextNumber++, changes });
  }

  /** At once and durable: what a fault or a mount does behind the process's back. */
  force(directory: DirectoryNode, name: string, node: Node | undefined): void {
    this.change({ directory, name, node });
    this.commit((change) => change.directory === directory && change.name === name);
  }

  /** To be handed to `commitDirectory` when the sync ends. */
  get position(): number {
    return this.#nextNumber;
  }

  commitDirectory(directory: DirectoryNode, before: number): void {
    this.commit((change) => change.directory === directory, before);
  }

  /**
   * Makes matching changes durable, with the whole operation that they are part of, and with every
   * earlier one that touches the same names (or a crash could bring an older change back on top).
   */
  commit(matches: (change: Change) => boolean, before = Number.POSITIVE_INFINITY): void {
    const committed = new Set<Operation>();
    const names: Change[] = [];
    for (const operation of this.#pending.toReversed()) {
      const wanted = operation.number < before && operation.changes.some(matches);
      const shadowed = operation.changes.some((change) =>
        names.some((name) => sameName(name, change)),
      );
      if (!wanted && !shadowed) continue;
      committed.add(operation);
      names.push(...operation.changes);
    }
    for (const operation of this.#pending) if (committed.has(operation)) makeDurable(operation);
    this.#pending = this.#pending.filter((operation) => !committed.has(operation));
  }

  crash(unsynced: Unsynced): void {
    const count = this.#pending.length;
    const way = this.#random.integer(3);
    const prefix = this.#random.integer(count + 1);
    const share = this.#random.float();
    this.#pending.forEach((operation, index) => {
      if (unsynced === 'lost') return;
      const keep = way === 0 ? index < prefix : way === 1 ? this.#random.chance(share) : false;
      if (unsynced === 'kept' || keep) makeDurable(operation);
    });
    this.#pending = [];
  }

  /** After a crash: only what was durable is there. */
  restore(directory: DirectoryNode = this.root): void {
    directory.entries = new Map(directory.durable);
    for (const node of directory.entries.values()) {
      if (node.kind === 'directory') this.restore(node);
    }
  }

  *files(directory: DirectoryNode = this.root): IterableIterator<FileNode> {
    for (const node of directory.entries.values()) {
      if (node.kind === 'file') yield node;
      else yield* this.files(node);
    }
  }
}

function sameName(a: Change, b: Change): boolean {
  return a.directory === b.directory && a.name === b.name;
}

function makeDurable(operation: Operation): void {
  for (const { directory, name, node } of operation.changes)
    setEntry(directory.durable, name, node);
}

function setEntry(entries: Map<string, Node>, name: string, node: Node | undefined): void {
  if (node === undefined) entries.delete(name);
  else entries.set(name, node);
}
