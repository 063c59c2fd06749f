/** What the proxy counts, on a registry that main serves at /metrics. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Peers } from './peers.ts';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export class ProxyMetrics {
  readonly #operations: Histogram<'operation' | 'outcome'>;
  /** Looking labels up costs more than the observation. Operations and outcomes are few. */
  readonly #observers = new Map<string, { observe(value: number): void }>();
  readonly #events: Counter<'event'>;

  constructor(registry: Registry, peers: Peers) {
    this.#operations = new Histogram({
      name: 'anello_proxy_operation_seconds',
      help: 'Time of the store operations, to the answer (downloads: to the first byte)',
      labelNames: ['operation', 'outcome'],
      buckets: SECONDS,
      registers: [registry],
    });
    this.#events = new Counter({
      name: 'anello_proxy_events_total',
      help: 'Hedged and resumed reads, repairs, handoff copies, write rounds',
      labelNames: ['event'],
      registers: [registry],
    });
    new Gauge({
      name: 'anello_proxy_device_limited',
      help: '1: the device is asked last, after failures',
      labelNames: ['node', 'device'],
      registers: [registry],
      collect() {
        this.reset();
        for (const { node, device, limitedForMs } of peers.statuses()) {
          this.set({ node, device: String(device) }, limitedForMs > 0 ? 1 : 0);
        }
      },
    });
  }

  observe(operation: string, outcome: string, tookMs: number): void {
    const key = `${operation} ${outcome}`;
    let observer = this.#observers.get(key);
    if (observer === undefined) {
      observer = this.#operations.labels({ operation, outcome });
      this.#observers.set(key, observer);
    }
    observer.observe(tookMs / 1000);
  }

  count(event: ProxyEvent): void {
    this.#events.inc({ event });
  }
}

export type ProxyEvent =
  | 'fresh-container'
  | 'fresh-ring'
  | 'handoff'
  | 'hedge'
  | 'late-write-dropped'
  | 'read-repair'
  | 'read-repair-dropped'
  | 'redial'
  | 'resume'
  | 'row-sent'
  | 'stream-dropped'
  | 'stream-made-up'
  | 'write-round';
