/**
 * The devices of this node, as far as they can be opened, and may serve (repair/recall.ts). One step a
 * second looks after those that can't be opened: a folder that was wiped or replaced under the running process gets a new identity and
 * incarnation and is filled again by its peers; a damaged index is rebuilt by opening anew; a disk that
 * was not there at the start may be there now; descriptors that were missing may be free again. A sync
 * error is for ever: only a new process uses that device again.
 */
import path from 'node:path';
import { codeOf, messageOf } from '#base/errors.ts';
import type { NodeConfig } from '#config/node-config.ts';
import type { EntryKey } from '#device/contract.ts';
import { type DeviceLimits, formatDevice, type LogDevice, openDevice } from '#device/open.ts';
import { RowStore } from '#rows/row-store.ts';
import type { Job } from '#worker/job.ts';
import type { Foundation } from './foundation.ts';
import { markGenesis } from './genesis.ts';
import { Incarnations } from './incarnations.ts';

const LOOK_MS = 1000;
/** A device that is opened anew again and again is looked at less and less often. */
const MAX_LOOKS = 60;

export interface OpenDevice {
  readonly device: LogDevice;
  readonly rows: RowStore;
}

type Slot = NodeConfig['devices'][number];

export class NodeDevices {
  readonly open = new Map<number, OpenDevice>();
  readonly devices = new Map<number, LogDevice>();
  /** Opened, and kept from service until their peers have told what they had forgotten. */
  readonly kept = new Map<number, OpenDevice>();
  readonly #foundation: Foundation;
  readonly #limits: Partial<DeviceLimits> | undefined;
  /** The last reason why a device could not be opened, so that it is logged once. */
  readonly #told = new Map<number, string>();
  readonly #lookMs: number;
  #waitMs: number;
  /** Told of every body that turned out damaged. */
  onDamage: (device: number, key: EntryKey) => void = () => undefined;
  #opened: () => void = () => undefined;

  constructor(
    foundation: Foundation,
    limits: Partial<DeviceLimits> | undefined,
    lookMs: number = LOOK_MS,
  ) {
    this.#foundation = foundation;
    this.#limits = limits;
    this.#lookMs = lookMs;
    this.#waitMs = lookMs;
  }

  /** Opens what can be opened; the process and its other devices go on without the rest. */
  async openAll(): Promise<void> {
    await Promise.all(this.#foundation.config.devices.map((slot) => this.#open(slot)));
    this.#foundation.cluster.subscribe(() => this.#markNewRings());
  }

  /** A ring may be made after the devices. */
  #markNewRings(): void {
    for (const { device } of this.open.values()) {
      markGenesis(this.#foundation, device).catch((error) => {
        const facts = { device: device.id, reason: messageOf(error) };
        this.#foundation.env.log.error('device.genesis-failed', facts);
      });
    }
  }

  /** Opens anew what went out of service and may come back. */
  readonly keeper: Job = {
    name: 'device.keeper',
    step: async () => {
      let reopened = false;
      for (const slot of this.#foundation.config.devices) {
        if (!this.#isLost(slot)) continue;
        await this.#close(slot);
        reopened = (await this.#open(slot)) || reopened;
      }
      if (reopened) this.#opened();
      const most = MAX_LOOKS * this.#lookMs;
      this.#waitMs = reopened ? Math.min(this.#waitMs * 2, most) : this.#lookMs;
      return { kind: 'idle', waitMs: this.#waitMs };
    },
  };

  /** One of `kept` serves from now on; not who was opened in its place meanwhile. */
  admit(device: LogDevice): void {
    const { id } = device;
    const opened = this.kept.get(id);
    if (opened?.device !== device) return;
    this.kept.delete(id);
    this.#serve(id, opened);
    this.#opened();
  }

  #serve(id: number, opened: OpenDevice): void {
    this.open.set(id, opened);
    this.devices.set(id, opened.device);
  }

  /** Called whenever devices came (back) into service. */
  onOpened(opened: () => void): void {
    this.#opened = opened;
  }

  async closeAll(): Promise<void> {
    await Promise.all(this.#foundation.config.devices.map((slot) => this.#close(slot)));
  }

  #isLost(slot: Slot): boolean {
    const opened = this.#of(slot);
    if (opened === undefined || opened.device.status === 'missing') return true;
    const { device, rows } = opened;
    // A damaged rows database is rebuilt from the log, by opening anew too.
    if (device.status === 'ok' && rows.damage !== undefined) return true;
    return device.curable;
  }

  #of(slot: Slot): OpenDevice | undefined {
    return this.open.get(slot.id) ?? this.kept.get(slot.id);
  }

  async #close(slot: Slot): Promise<void> {
    const device = this.#of(slot)?.device;
    for (const map of [this.devices, this.open, this.kept]) map.delete(slot.id);
    try {
      await device?.close();
    } catch (error) {
      this.#foundation.env.log.warn('device.close-failed', {
        device: slot.id,
        reason: messageOf(error),
      });
    }
  }

  async #open(slot: Slot): Promise<boolean> {
    try {
      const opened = await this.#openOrFormat(slot);
      if (opened.device.opened.hasHole) this.#keep(slot.id, opened);
      else this.#serve(slot.id, opened);
      this.#told.delete(slot.id);
      return true;
    } catch (error) {
      const reason = messageOf(error);
      const { log } = this.#foundation.env;
      const facts = { device: slot.id, path: slot.path, code: codeOf(error), reason };
      if (this.#told.get(slot.id) !== reason) log.error('device.unusable', facts);
      this.#told.set(slot.id, reason);
      return false;
    }
  }

  #keep(id: number, opened: OpenDevice): void {
    this.kept.set(id, opened);
    this.#foundation.env.log.warn('device.kept', { device: id, reason: 'its log has a hole' });
  }

  async #openOrFormat(slot: Slot): Promise<OpenDevice> {
    const { env, config } = this.#foundation;
    try {
      return await this.#tryOpen(slot);
    } catch (error) {
      if (codeOf(error) !== 'device-blank') throw error;
      const { id: deviceId, name } = slot;
      await formatDevice(env, slot.path, {
        clusterId: config.clusterId,
        deviceId,
        name,
        genesis: false,
      });
      env.log.warn('device.formatted', { device: slot.id, path: slot.path });
      return this.#tryOpen(slot);
    }
  }

  async #tryOpen(slot: Slot): Promise<OpenDevice> {
    const { env, config, clock } = this.#foundation;
    let rows: RowStore | undefined;
    const device = await openDevice(env, slot.path, {
      clusterId: config.clusterId,
      deviceId: slot.id,
      clock,
      limits: this.#limits,
      mountPoint: slot.mountPoint,
      register: new Incarnations(this.#foundation, slot.id),
      openRows: (folder, incarnation) => {
        const file = path.join(folder, 'rows.db');
        rows = RowStore.open(env, { file, incarnation, digestKey: config.clusterId });
        return rows;
      },
      onStatus: (status, reason) =>
        env.log.warn('device.status', { device: slot.id, status, reason }),
      onDamage: (key) => {
        if (key !== undefined) this.onDamage(slot.id, key);
      },
    });
    try {
      rows!.bind(device.rowLog);
      await markGenesis(this.#foundation, device, 'opened');
      return { device, rows: rows! };
    } catch (error) {
      // Or the next step would open the same folder a second time beside it.
      await device.close();
      throw error;
    }
  }
}
