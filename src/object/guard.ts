/**
 * What every call of the object service checks before it does anything: the device is here, the call
 * was placed by a ring that may be in use together with ours, and the hash is that of the name.
 */
import { OperatingError } from '#base/errors.ts';
import { hashPath } from '#base/hash.ts';
import type { PolicyIndex } from '#base/names.ts';
import type { Device } from '#device/contract.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { Ring } from '#ring/ring.ts';
import { checkPlaced, checkSender, type PlacedCall } from '#ring/ring-check.ts';
import { objectTargets } from './targets.ts';

export type Devices = () => ReadonlyMap<number, Device>;

export class Guard {
  readonly #devices: Devices;
  readonly #cluster: ClusterSource;

  constructor(devices: Devices, cluster: ClusterSource) {
    this.#devices = devices;
    this.#cluster = cluster;
  }

  /** @throws OperatingError `no-device`, `ring-old`, `ring-unknown`, `moved` */
  device(address: PlacedCall & { readonly device: number }): Device {
    const device = this.deviceById(address.device);
    this.checkPlaced(device, address);
    return device;
  }

  /**
   * What waited since the call came (for its body) must be checked again in the turn of its commit: a
   * fence that was raised meanwhile promises that nothing older comes behind it.
   * @throws OperatingError `ring-old`, `ring-unknown`, `moved`
   */
  checkPlaced(device: Device, call: PlacedCall): void {
    checkPlaced(device, this.#cluster, call);
  }

  /** @throws OperatingError `removed` */
  checkSender(from: number | undefined): void {
    checkSender(this.#cluster.current(), from);
  }

  /** This node's own. */
  ring(policy: PolicyIndex): Ring | undefined {
    return this.#cluster.current().rings.get(policy);
  }

  /** Whether the device is one of those that keep bodies of this name, not only states. */
  keepsBody({ id }: Device, key: { readonly policy: PolicyIndex; readonly hash: Buffer }): boolean {
    return objectTargets(this.#cluster.current(), key).some(({ device }) => device === id);
  }

  /**
   * Conditional rounds are bound to one ring version: who knows a newer one has no part in them.
   * @throws OperatingError `ring-old`, `ring-unknown`, `moved`
   */
  checkRound(device: Device, call: PlacedCall): void {
    const { policy, ringVersion } = call;
    const own = this.ring(policy)?.version ?? 0;
    if (ringVersion < own) {
      const facts = { policy, ringVersion, own };
      throw new OperatingError('ring-old', 'a round of an older ring', facts);
    }
    this.checkPlaced(device, call);
  }

  /** @throws OperatingError `no-device` */
  deviceById(id: number): Device {
    const device = this.#devices().get(id);
    if (device !== undefined) return device;
    throw new OperatingError('no-device', 'this node does not serve the device', { device: id });
  }

  /** An entry filed under another name's hash would be lost to everybody. @throws OperatingError `malformed` */
  checkName(path: string, hash: Buffer): void {
    const { hashPrefix, hashSuffix } = this.#cluster.current();
    if (!hashPath(hashPrefix, path, hashSuffix).equals(hash)) {
      throw new OperatingError('malformed', 'the hash is not that of the name', { path });
    }
  }
}
