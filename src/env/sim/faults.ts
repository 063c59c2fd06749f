/** Rules by which a simulated disk misbehaves. */
import type { Prng } from './prng.ts';

export type DiskOperation =
  | 'open'
  | 'read'
  | 'write'
  | 'sync'
  | 'truncate'
  | 'rename'
  | 'unlink'
  | 'mkdir'
  | 'list'
  | 'stat'
  | 'syncDirectory'
  | 'replace'
  | 'space'
  | 'database'
  | 'checkpoint';

export type FaultAction =
  /** The operation fails (`EIO`, `ENOSPC`, `EROFS` ...) and does nothing. */
  | { readonly kind: 'error'; readonly code: string }
  | { readonly kind: 'delay'; readonly ms: number }
  /** A write, sync or replace that is reported done and never happened. */
  | { readonly kind: 'lose' }
  /** A write that lands elsewhere in the file. */
  | { readonly kind: 'misdirect'; readonly shiftBytes: number }
  /** A read that returns one flipped bit, once; the file is sound. */
  | { readonly kind: 'flip' };

export interface FaultRule {
  /** All, when left out. */
  readonly operations?: readonly DiskOperation[];
  /** This path and all below it, or a pattern; all when left out. */
  readonly path?: string | RegExp;
  readonly action: FaultAction;
  /** Default 1. */
  readonly probability?: number;
  /** The rule ends after so many hits. */
  readonly times?: number;
}

export class FaultRules {
  readonly #random: Prng;
  readonly #rules = new Map<FaultRule, number>();

  constructor(random: Prng) {
    this.#random = random;
  }

  /** Returns what takes the rule away again. */
  add(rule: FaultRule): () => void {
    const own = { ...rule };
    this.#rules.set(own, own.times ?? Number.POSITIVE_INFINITY);
    return () => this.#rules.delete(own);
  }

  clear(): void {
    this.#rules.clear();
  }

  /** The actions that hit this operation. */
  hit(operation: DiskOperation, path: string): FaultAction[] {
    if (this.#rules.size === 0) return [];
    const actions: FaultAction[] = [];
    for (const [rule, left] of this.#rules) {
      if (!applies(rule, operation, path)) continue;
      if (rule.probability !== undefined && !this.#random.chance(rule.probability)) continue;
      actions.push(rule.action);
      if (left > 1) this.#rules.set(rule, left - 1);
      else this.#rules.delete(rule);
    }
    return actions;
  }
}

function applies(rule: FaultRule, operation: DiskOperation, path: string): boolean {
  if (rule.operations !== undefined && !rule.operations.includes(operation)) return false;
  if (rule.path === undefined) return true;
  if (typeof rule.path !== 'string') return rule.path.test(path);
  return path === rule.path || path.startsWith(`${rule.path.replace(/\/$/, '')}/`);
}

/** Whether an operation only pretends to happen. */
export function isLost(actions: readonly FaultAction[]): boolean {
  return actions.some((action) => action.kind === 'lose');
}

export function flipIfAsked(bytes: Buffer, actions: readonly FaultAction[], random: Prng): Buffer {
  if (bytes.length > 0 && actions.some((action) => action.kind === 'flip')) {
    const at = random.integer(bytes.length);
    bytes[at] = bytes[at]! ^ (1 << random.integer(8));
  }
  return bytes;
}

/** An error as Node's fs makes it. */
export function diskError(code: string, operation: string, path: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${operation} '${path}'`), {
    code,
    syscall: operation,
    path,
  });
}
