import type { ClusterSource, ClusterView } from '../cluster.ts';

/** How a node of a test learns of rings: the test publishes new ones, node by node if it likes. */
export class ViewSource implements ClusterSource {
  #view: ClusterView;
  readonly #subscribers = new Set<(view: ClusterView) => void>();

  constructor(view: ClusterView) {
    this.#view = view;
  }

  current(): ClusterView {
    return this.#view;
  }

  seek(): void {}

  subscribe(changed: (view: ClusterView) => void): () => void {
    this.#subscribers.add(changed);
    return () => this.#subscribers.delete(changed);
  }

  publish(view: ClusterView): void {
    this.#view = view;
    for (const changed of this.#subscribers) changed(view);
  }
}

/** One that never has anything newer than what there is at the moment. */
export function stillSource(current: () => ClusterView): ClusterSource {
  return { current, subscribe: () => () => undefined, seek: () => undefined };
}
