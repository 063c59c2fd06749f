/**
 * NotificationConfiguration between XML and the rules that the store keeps. A receiver is a webhook: its
 * URL, bare or as the resource of an ARN (`arn:anello:webhook:::https://example.org/hook`), named as topic
 * or as queue.
 */
import type { NotificationRule } from '#proxy/notification/rules.ts';
import { refuse } from './errors.ts';
import { element, leaf } from './xml.ts';
import {
  child,
  children,
  onlyChildren,
  requiredText,
  textOf,
  type XmlElement,
} from './xml-reader.ts';

const MAX_RULES = 100;
const MAX_ID = 255;
const MAX_VALUE = 1024;
const KINDS = ['Topic', 'Queue'] as const;

/** All that S3 knows; those of what this store does not do never come. */
const EVENTS: ReadonlySet<string> = new Set(
  [
    ...['ObjectCreated:*', 'ObjectCreated:Put', 'ObjectCreated:Post', 'ObjectCreated:Copy'],
    ...['ObjectCreated:CompleteMultipartUpload', 'ObjectRemoved:*', 'ObjectRemoved:Delete'],
    ...['ObjectRemoved:DeleteMarkerCreated', 'ObjectTagging:*', 'ObjectTagging:Put'],
    ...['ObjectTagging:Delete', 'ObjectAcl:Put', 'LifecycleExpiration:*'],
    ...['LifecycleExpiration:Delete', 'LifecycleExpiration:DeleteMarkerCreated'],
    ...['LifecycleTransition', 'IntelligentTiering', 'ReducedRedundancyLostObject'],
    ...['ObjectRestore:*', 'ObjectRestore:Post', 'ObjectRestore:Completed', 'ObjectRestore:Delete'],
    ...['Replication:*', 'Replication:OperationFailedReplication'],
    ...['Replication:OperationMissedThreshold', 'Replication:OperationNotTracked'],
    ...['Replication:OperationReplicatedAfterThreshold'],
  ].map((event) => `s3:${event}`),
);

/** @throws S3Error MalformedXML, InvalidArgument, NotImplemented */
export function rulesOfXml(root: XmlElement, newId: () => string): NotificationRule[] {
  onlyChildren(root, [
    ...['TopicConfiguration', 'QueueConfiguration', 'CloudFunctionConfiguration'],
    'EventBridgeConfiguration',
  ]);
  for (const name of ['CloudFunctionConfiguration', 'EventBridgeConfiguration']) {
    if (children(root, name).length > 0)
      throw refuse('NotImplemented', undefined, { Header: name });
  }
  if (root.children.length > MAX_RULES) throw refuse('MalformedXML');
  const rules = KINDS.flatMap((kind) =>
    children(root, `${kind}Configuration`).map((item) => ruleOf(item, kind, newId)),
  );
  if (new Set(rules.map(({ id }) => id)).size < rules.length) {
    throw invalid('Same ID used for multiple configurations. IDs must be unique');
  }
  checkOverlaps(rules);
  return rules;
}

function ruleOf(
  item: XmlElement,
  kind: NotificationRule['kind'],
  newId: () => string,
): NotificationRule {
  onlyChildren(item, ['Id', kind, 'Event', 'Filter']);
  const events = children(item, 'Event').map(({ text }) => text.trim());
  if (events.length === 0) throw refuse('MalformedXML');
  const unknown = events.find((event) => !EVENTS.has(event));
  if (unknown !== undefined) {
    throw invalid(`The event '${unknown}' is not supported for notifications`);
  }
  const id = textOf(item, 'Id')?.trim() || newId();
  if (id.length > MAX_ID) throw invalid('The ID is too long');
  const arn = requiredText(item, kind).trim();
  const url = /^(?:arn:[\w-]*:[\w-]+:[\w-]*:[\w-]*:)?(https?:\/\/\S+)$/.exec(arn)?.[1];
  if (url === undefined) throw invalid('The ARN is not well formed');
  return { id, kind, arn, url, events: [...new Set(events)], ...filterOf(child(item, 'Filter')) };
}

function filterOf(filter: XmlElement | undefined): Pick<NotificationRule, 'prefix' | 'suffix'> {
  if (filter === undefined) return {};
  onlyChildren(filter, ['S3Key']);
  const key = child(filter, 'S3Key');
  if (key === undefined) return {};
  onlyChildren(key, ['FilterRule']);
  const found: { prefix?: string; suffix?: string } = {};
  for (const rule of key.children) {
    onlyChildren(rule, ['Name', 'Value']);
    const name = requiredText(rule, 'Name').trim().toLowerCase();
    if (name !== 'prefix' && name !== 'suffix') {
      throw invalid('filter rule name must be either prefix or suffix');
    }
    if (found[name] !== undefined)
      throw invalid(`Cannot specify more than one ${name} rule in a filter.`);
    found[name] = requiredText(rule, 'Value');
    if (Buffer.byteLength(found[name]) > MAX_VALUE) {
      throw invalid(`Size of filter rule value cannot exceed ${MAX_VALUE} bytes in UTF-8`);
    }
  }
  return found;
}

/** One event of one key is told by one rule. */
function checkOverlaps(rules: readonly NotificationRule[]): void {
  for (const [i, a] of rules.entries()) {
    for (const b of rules.slice(i + 1)) {
      if (!overlap(a, b)) continue;
      throw invalid(
        'Configurations overlap. Configurations on the same bucket cannot share a common event type.',
      );
    }
  }
}

function overlap(a: NotificationRule, b: NotificationRule): boolean {
  const [prefixA = '', prefixB = ''] = [a.prefix, b.prefix];
  const [suffixA = '', suffixB = ''] = [a.suffix, b.suffix];
  return (
    a.events.some((event) => b.events.some((other) => sameEvents(event, other))) &&
    (prefixA.startsWith(prefixB) || prefixB.startsWith(prefixA)) &&
    (suffixA.endsWith(suffixB) || suffixB.endsWith(suffixA))
  );
}

function sameEvents(a: string, b: string): boolean {
  const covers = (family: string, event: string): boolean =>
    family.endsWith(':*') && event.startsWith(family.slice(0, -1));
  return a === b || covers(a, b) || covers(b, a);
}

function invalid(message: string) {
  return refuse('InvalidArgument', message);
}

export function notificationXml(rules: readonly NotificationRule[]): string {
  return rules
    .map(({ id, kind, arn, events, prefix, suffix }) =>
      element(
        `${kind}Configuration`,
        leaf('Id', id) +
          leaf(kind, arn) +
          events.map((event) => leaf('Event', event)).join('') +
          filterXml([
            ['prefix', prefix],
            ['suffix', suffix],
          ]),
      ),
    )
    .join('');
}

function filterXml(terms: readonly (readonly [string, string | undefined])[]): string {
  const rules = terms.map(([name, value]) =>
    value === undefined ? '' : element('FilterRule', leaf('Name', name) + leaf('Value', value)),
  );
  const all = rules.join('');
  return all === '' ? '' : element('Filter', element('S3Key', all));
}
