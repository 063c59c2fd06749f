/**
 * What one entry adds to its bucket's digest: 128 bits of a keyed hash over its canonical joined state
 * (key, kind, every timestamp, write id, content checksum). Promises, the unlisted mark, the metadata
 * values and whether the body is here are not in it.
 *
 * The sum of many such values is only as strong as the key is secret: with a known key one could
 * search for sets of entries with equal sums. So the key is derived from the cluster's id.
 */
import { hash as digest } from 'node:crypto';
import { type EntryState, KINDS } from '#base/entry.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { EntryKey } from './contract.ts';

const CONTRIBUTION_BYTES = 16;
const KEY_BYTES = 32;
const FIRST_BYTES = 4096;

export class ContributionHasher {
  /** Starts with the digest key; grows to the largest state seen. */
  #scratch: Buffer;
  #at = 0;

  constructor(clusterId: string) {
    this.#scratch = Buffer.alloc(FIRST_BYTES);
    const key = digest('sha256', `anello digest 1 ${clusterId}`, 'buffer');
    this.#scratch.set(key);
  }

  of(key: EntryKey, state: EntryState): Buffer {
    this.#reserve(KEY_BYTES + 128 + 3 * (state.data?.etag.length ?? 0));
    this.#at = KEY_BYTES;
    this.#at = this.#scratch.writeUInt16BE(key.policy, this.#at);
    this.#scratch.set(key.hash, this.#at);
    this.#at += key.hash.length;
    this.#putData(state.data);
    for (const name of Object.keys(state.groups).sort()) {
      this.#reserve(this.#at + 32 + 3 * name.length);
      this.#putText(name);
      this.#putTimestamp(state.groups[name]!.timestamp);
    }
    const bytes = digest('sha256', this.#scratch.subarray(0, this.#at), 'buffer');
    return bytes.subarray(0, CONTRIBUTION_BYTES);
  }

  #putData(data: EntryState['data']): void {
    if (data === undefined) {
      this.#scratch[this.#at++] = 0xff;
      return;
    }
    this.#scratch[this.#at++] = KINDS.indexOf(data.kind);
    this.#putTimestamp(data.timestamp);
    this.#scratch[this.#at++] = data.expiredSource === undefined ? 0 : 1;
    if (data.expiredSource !== undefined) this.#putTimestamp(data.expiredSource);
    this.#putText(data.writeId);
    this.#putText(data.etag);
  }

  #putTimestamp(timestamp: Timestamp): void {
    this.#at += this.#scratch.write(timestamp, this.#at, 'latin1');
  }

  #putText(text: string): void {
    const length = this.#scratch.write(text, this.#at + 2);
    this.#scratch.writeUInt16BE(length & 0xffff, this.#at);
    this.#at += 2 + length;
  }

  #reserve(length: number): void {
    if (length <= this.#scratch.length) return;
    const larger = Buffer.alloc(2 * length);
    larger.set(this.#scratch);
    this.#scratch = larger;
  }
}
