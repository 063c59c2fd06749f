/**
 * What the proxy remembers of containers: policy, mode, ACLs. Every object request needs it, and it
 * changes seldom, so an answer is used for up to two seconds (the time in which a changed ACL is in
 * force everywhere). Absence is never remembered: a container is usable as soon as it is made.
 */
import type { Env } from '#env/env.ts';
import type { ContainerInfo } from './contract.ts';

interface Cached {
  readonly info: ContainerInfo;
  readonly atMs: number;
}

export interface ContainerCacheOptions {
  readonly env: Env;
  readonly ttlMs: number;
  readonly staleMs: number;
  readonly entries: number;
}

export class ContainerCache {
  readonly #options: ContainerCacheOptions;
  /** In order of use of the fetch: the first is the oldest. */
  readonly #cached = new Map<string, Cached>();
  readonly #loading = new Map<string, Promise<ContainerInfo | undefined>>();

  constructor(options: ContainerCacheOptions) {
    this.#options = options;
  }

  /** At most `ttlMs` old. */
  peek(path: string): ContainerInfo | undefined {
    return this.#youngerThan(path, this.#options.ttlMs);
  }

  /** For when the container can't be asked: at most `staleMs` old. */
  peekStale(path: string): ContainerInfo | undefined {
    return this.#youngerThan(path, this.#options.staleMs);
  }

  /** One load at a time for each container serves all who ask meanwhile. */
  load(
    path: string,
    fetch: () => Promise<ContainerInfo | undefined>,
  ): Promise<ContainerInfo | undefined> {
    const underWay = this.#loading.get(path);
    if (underWay !== undefined) return underWay;
    const loading = this.#load(path, fetch).finally(() => {
      if (this.#loading.get(path) === loading) this.#loading.delete(path);
    });
    this.#loading.set(path, loading);
    return loading;
  }

  /** After a write of our own: neither what is kept nor a load that began before it may be used. */
  forget(path: string): void {
    this.#cached.delete(path);
    this.#loading.delete(path);
  }

  put(path: string, info: ContainerInfo): void {
    this.#cached.delete(path);
    this.#cached.set(path, { info, atMs: this.#options.env.clock.monotonicMs() });
    if (this.#cached.size <= this.#options.entries) return;
    for (const oldest of this.#cached.keys()) {
      this.#cached.delete(oldest);
      break;
    }
  }

  async #load(
    path: string,
    fetch: () => Promise<ContainerInfo | undefined>,
  ): Promise<ContainerInfo | undefined> {
    await Promise.resolve(); // `loading` must be registered before a fetch can end
    const atMs = this.#options.env.clock.monotonicMs();
    const mine = this.#loading.get(path);
    const info = await fetch();
    if (info === undefined) this.#cached.delete(path);
    else if (mine !== undefined && this.#loading.get(path) === mine) {
      this.put(path, info);
      this.#cached.set(path, { info, atMs });
    }
    return info;
  }

  #youngerThan(path: string, ms: number): ContainerInfo | undefined {
    const cached = this.#cached.get(path);
    if (cached === undefined) return undefined;
    return this.#options.env.clock.monotonicMs() - cached.atMs < ms ? cached.info : undefined;
  }
}
