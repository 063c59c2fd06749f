/**
 * Whether a cluster document agrees with what is there already: sites with the nodes at them, policies with
 * the rings that hold their data. A process refuses a bundle whose rings don't fit its policies
 * (bundle-source.ts), and a quorum that is counted from another number than the ring's loses writes; so
 * neither is ever published.
 */
import { OperatingError } from '#base/errors.ts';
import { ACCOUNT_RING, CONTAINER_RING, MAX_POLICY_INDEX } from '#base/names.ts';
import type { SetChange } from '#ring/builder/ring-set.ts';
import { isStateUrl } from '#state/open-state.ts';
import type { Document } from './document.ts';
import type { Snapshot } from './store.ts';

type Policy = Document['policies'][number];

/** @throws OperatingError `bad-document`: everything that does not fit */
export function checkFits(next: Document, now: Pick<Snapshot, 'document' | 'nodes' | 'set'>): void {
  const issues = [
    ...ownIssues(next),
    ...siteIssues(next, now),
    ...ringIssues(next, now),
    ...modeIssues(next, now),
  ];
  if (issues.length > 0) throw misfit(issues);
}

/** New rings are those of policies that the document has. @throws OperatingError `bad-document` */
export function checkCreated(document: Document, { create = [] }: SetChange): void {
  const issues = create.flatMap(({ name, settings: { policy: index } }) => {
    if (index === CONTAINER_RING || index === ACCOUNT_RING) return [];
    const policy = document.policies.find((known) => known.index === index);
    if (policy !== undefined && ringOf(policy) === name) return [];
    const hint = 'it is added there first (anello config set), without data';
    return [`policies: there is none of index ${index} for the new ring ${name}; ${hint}`];
  });
  if (issues.length > 0) throw misfit(issues);
}

/** Not part of the schema: what was stored before these rules must stay readable. */
function ownIssues({ policies, state }: Document): string[] {
  const doubled = (['index', 'name'] as const).filter(
    (field) => new Set(policies.map((policy) => policy[field])).size < policies.length,
  );
  const tooLarge = policies.filter(({ index }) => index > MAX_POLICY_INDEX);
  // Into files of other programs it goes as it is; parsers of URLs pass over line ends.
  const isState = state === '' || (isStateUrl(state) && !/\p{Cc}/u.test(state));
  return [
    ...doubled.map((field) => `policies: two have the same ${field}`),
    ...tooLarge.map(({ name }) => `policies: the index of ${name} is above ${MAX_POLICY_INDEX}`),
    ...(isState ? [] : ['state: sqlite:PATH or etcd:https://HOST:PORT,...']),
  ];
}

function siteIssues({ sites }: Document, { nodes, set }: Pick<Snapshot, 'nodes' | 'set'>) {
  const known = new Set(sites.map(({ name }) => name));
  const members = [...nodes.values()].filter(({ expelled }) => !expelled);
  const used = [...members.map(({ site, name }) => ({ site, node: name })), ...set.devices()];
  const left = Map.groupBy(
    used.filter(({ site }) => !known.has(site)),
    ({ site }) => site,
  );
  return [...left].map(([site, at]) => {
    const names = [...new Set(at.map(({ node }) => node))];
    return `sites: ${site} has nodes (${names.join(', ')})`;
  });
}

/** How many replicas and copies there are is the ring's to say, and so is what it is called. */
function ringIssues({ policies }: Document, { set }: Pick<Snapshot, 'set'>): string[] {
  return [...set.builders].flatMap(([name, { state }]) => {
    const { policy: index, replicas, copies } = state.settings;
    if (index === CONTAINER_RING || index === ACCOUNT_RING) return [];
    const policy = policies.find((known) => known.index === index);
    if (policy === undefined || ringOf(policy) !== name)
      return [`policies: ${name} (index ${index}) has a ring, which holds data`];
    const states = Math.floor(replicas);
    if (policy.states === states && policy.copies === copies) return [];
    const how = 'a plan changes that (anello ring plan --replicas)';
    return [`policies: the ring of ${policy.name} has states ${states}, copies ${copies}; ${how}`];
  });
}

/** Acknowledged under one mode, read under another: neither's promise would hold. */
function modeIssues({ policies }: Document, { document, set }: Pick<Snapshot, 'document' | 'set'>) {
  return document.policies.flatMap(({ index, name, mode }) => {
    const next = policies.find((policy) => policy.index === index);
    const isInUse = set.builders.has(`object/${name}`);
    if (!isInUse || next === undefined || next.mode === mode) return [];
    return [`policies: ${name} is ${mode} for ever; a container can move to another policy`];
  });
}

function ringOf({ name }: Policy): string {
  return `object/${name}`;
}

function misfit(issues: readonly string[]): OperatingError {
  return new OperatingError('bad-document', `the document does not fit: ${issues.join('; ')}`, {
    issues,
  });
}
