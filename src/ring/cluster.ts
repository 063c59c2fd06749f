/**
 * What a process knows of its cluster at one moment: policies, nodes and rings, all of one published
 * version. `ClusterSource` is how it learns the next; a view is immutable, so an operation takes
 * `current()` once and keeps to it.
 */
import type { PolicyIndex } from '#base/names.ts';
import type { Ring } from './ring.ts';

export const CONSISTENCY_MODES = ['strict', 'available', 'local'] as const;
export type ConsistencyMode = (typeof CONSISTENCY_MODES)[number];

export interface StoragePolicy {
  readonly index: PolicyIndex;
  readonly name: string;
  /** Copies of a body. */
  readonly copies: number;
  /** Replicas of the state, N of every quorum: odd, >= 3, >= copies. The first `copies` hold bodies. */
  readonly states: number;
  readonly mode: ConsistencyMode;
  readonly isDefault: boolean;
}

export interface NodeInfo {
  readonly name: string;
  readonly site: string;
  readonly zone: string;
  readonly wire: { readonly host: string; readonly port: number };
}

export interface ClusterView {
  readonly clusterId: string;
  /** Version of the whole bundle; rings have their own versions too. */
  readonly version: number;
  readonly hashPrefix: string;
  readonly hashSuffix: string;
  readonly policies: readonly StoragePolicy[];
  readonly nodes: ReadonlyMap<string, NodeInfo>;
  /** Every ring by number: object policies, CONTAINER_RING, ACCOUNT_RING (base/names.ts). */
  readonly rings: ReadonlyMap<PolicyIndex, Ring>;
}

export interface ClusterSource {
  current(): ClusterView;
  /** Calls `changed` after each new version; returns the way to stop. */
  subscribe(changed: (view: ClusterView) => void): () => void;
}
