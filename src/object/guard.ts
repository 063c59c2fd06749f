/**
 * What every call of the object service checks before it does anything: the device is here, the call
 * was placed by a ring that may be in use together with ours, and the hash is that of the name.
 */
import { OperatingError } from '#base/errors.ts';
import { hashPath } from '#base/hash.ts';
import type { PolicyIndex } from '#base/names.ts';
import type { Device } from '#device/contract.ts';
import type { ClusterSource } from '#ring/cluster.ts';

export type Devices = () => ReadonlyMap<number, Device>;

export class Guard {
  readonly #devices: Devices;
  readonly #cluster: ClusterSource;

  constructor(devices: Devices, cluster: ClusterSource) {
    this.#devices = devices;
    this.#cluster = cluster;
  }

  /** @throws OperatingError `no-device`, `ring-old` */
  device(address: {
    readonly device: number;
    readonly policy: PolicyIndex;
    readonly ringVersion: number;
  }): Device {
    this.#checkRing(address.policy, address.ringVersion);
    return this.deviceById(address.device);
  }

  /** @throws OperatingError `no-device` */
  deviceById(id: number): Device {
    const device = this.#devices().get(id);
    if (device !== undefined) return device;
    throw new OperatingError('no-device', 'this node does not serve the device', { device: id });
  }

  /**
   * Neighbouring ring versions may be in use together, v and v+2 never (consistency.md, Ring
   * change): so a call of a version two or more below ours is refused, and its sender fetches the ring.
   */
  #checkRing(policy: PolicyIndex, version: number): void {
    const own = this.#cluster.current().rings.get(policy)?.version ?? 0;
    if (version + 1 < own) {
      throw new OperatingError('ring-old', 'placed by a ring too old', { policy, version, own });
    }
  }

  /** An entry filed under another name's hash would be lost to everybody. @throws OperatingError `malformed` */
  checkName(path: string, hash: Buffer): void {
    const { hashPrefix, hashSuffix } = this.#cluster.current();
    if (!hashPath(hashPrefix, path, hashSuffix).equals(hash)) {
      throw new OperatingError('malformed', 'the hash is not that of the name', { path });
    }
  }
}
