/**
 * What a storage node shows at /metrics. A scrape never waits for a measurement: it shows the last one,
 * with its age, and starts the next when that is old.
 */
import { Gauge, type Registry } from 'prom-client';
import type { DeviceReport } from '#object/calls.ts';
import type { Debt, DebtBySite } from '#object/debt.ts';
import type { DurabilityReport } from '#object/durability-report.ts';

export interface MeasuredStorage {
  reports(): DeviceReport[];
  durability(maxAgeMs: number): Promise<DurabilityReport>;
  debt(): DebtBySite;
  /** Without asking anybody. */
  lastDurability(): DurabilityReport | undefined;
}

const REFRESH_MS = 60_000;

export function exposeStorage(registry: Registry, storage: MeasuredStorage): void {
  exposeDurability(registry, storage);
  exposeAudit(registry, storage);
  exposeDebt(registry, storage);
}

function exposeDebt(registry: Registry, storage: MeasuredStorage): void {
  const gauge = (name: string, help: string, read: (debt: Debt) => number): void => {
    new Gauge({
      name,
      help,
      labelNames: ['site'],
      registers: [registry],
      collect() {
        this.reset();
        for (const [site, debt] of storage.debt()) this.set({ site }, read(debt));
      },
    });
  };
  gauge('anello_debt_entries', 'Copies on stand-ins that wait for a site', (debt) => debt.entries);
  gauge('anello_debt_bytes', 'Bytes on stand-ins that wait for a site', (debt) => debt.bytes);
}

function exposeDurability(registry: Registry, storage: MeasuredStorage): void {
  const registers = [registry];
  const objects = new Gauge({
    name: 'anello_durability_objects',
    help: 'Objects by policy, and by how many good copies they lack',
    labelNames: ['policy', 'state'],
    registers,
    collect() {
      // Nobody waits for it: the next scrape shows what it found.
      storage.durability(REFRESH_MS).catch(() => undefined);
      const last = storage.lastDurability();
      if (last === undefined) return;
      this.reset();
      for (const [policy, counts] of Object.entries(last.byPolicy)) {
        for (const state of ['full', 'missing1', 'missing2', 'lost', 'unreachable'] as const) {
          this.set({ policy, state }, counts[state]);
        }
      }
      handoffs.set(last.handoffs);
      measured.set(Date.parse(last.asOf) / 1000);
      if (last.verifiedSince !== null) verified.set(Date.parse(last.verifiedSince) / 1000);
    },
  });
  const gauge = (name: string, help: string): Gauge => new Gauge({ name, help, registers });
  const handoffs = gauge('anello_durability_handoffs', 'Entries on devices that are no primaries');
  const measured = gauge('anello_durability_as_of_seconds', 'When the durability was measured');
  const verified = gauge(
    'anello_durability_verified_since_seconds',
    'Everything was read by an auditor since then; 0: not yet',
  );
  objects.reset();
}

function exposeAudit(registry: Registry, storage: MeasuredStorage): void {
  const gauge = (name: string, help: string, read: (report: DeviceReport) => number): void => {
    new Gauge({
      name,
      help,
      labelNames: ['device'],
      registers: [registry],
      collect() {
        for (const report of storage.reports()) {
          this.set({ device: String(report.id) }, read(report));
        }
      },
    });
  };
  gauge('anello_audit_share', 'Share that this cycle has read', ({ audit }) => audit.share);
  gauge('anello_audit_cycles', 'Cycles completed', ({ audit }) => audit.cycles);
  gauge('anello_audit_found', 'Damaged places found', ({ audit }) => audit.found);
  gauge('anello_quarantined', 'Damaged records kept', ({ facts }) => facts.quarantined);
}
