/** LifecycleConfiguration between XML and the rules that the store keeps. */
import { aborts, expires, type LifecycleRule, removesVersions } from '#proxy/lifecycle/rules.ts';
import { refuse } from './errors.ts';
import { checkTags, type Tags } from './tags.ts';
import { element, isoDate, leaf } from './xml.ts';
import {
  child,
  children,
  onlyChildren,
  requiredText,
  textOf,
  type XmlElement,
} from './xml-reader.ts';

const MAX_RULES = 1000;
const MAX_ID = 255;
const MAX_PREFIX_BYTES = 1024;
const MAX_RULE_TAGS = 10;
const MAX_DAYS = 0x7fff_ffff;
const DAY_MS = 24 * 3600 * 1000;
const DATE = /^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?)?$/;
const MAX_KEPT = 100;

/** @throws S3Error MalformedXML, InvalidArgument, InvalidRequest, InvalidTag, InvalidStorageClass */
export function rulesOfXml(root: XmlElement, newId: () => string): LifecycleRule[] {
  onlyChildren(root, ['Rule']);
  if (root.children.length === 0 || root.children.length > MAX_RULES) throw malformed();
  const rules = root.children.map((rule) => parseRule(rule, newId));
  if (new Set(rules.map(({ id }) => id)).size < rules.length) {
    throw invalid('Rule ID must be unique. Found same ID for more than one rule.');
  }
  return rules;
}

function parseRule(rule: XmlElement, newId: () => string): LifecycleRule {
  onlyChildren(rule, [
    ...['ID', 'Prefix', 'Filter', 'Status', 'Expiration', 'AbortIncompleteMultipartUpload'],
    ...['NoncurrentVersionExpiration', 'Transition', 'NoncurrentVersionTransition'],
  ]);
  const status = requiredText(rule, 'Status').trim();
  if (status !== 'Enabled' && status !== 'Disabled') throw malformed();
  const id = textOf(rule, 'ID')?.trim() || newId();
  if (id.length > MAX_ID) throw invalid('ID length should not exceed allowed limit of 255');
  refuseTransitions(rule);
  const parsed: LifecycleRule = {
    id,
    enabled: status === 'Enabled',
    ...parseSelection(rule),
    ...parseExpiration(child(rule, 'Expiration')),
    ...parseAbort(child(rule, 'AbortIncompleteMultipartUpload')),
    ...parseNoncurrent(child(rule, 'NoncurrentVersionExpiration')),
  };
  if (!expires(parsed) && !aborts(parsed) && !removesVersions(parsed)) {
    throw noAction();
  }
  const { tags, largerThan, smallerThan } = parsed;
  if (parsed.expireMarkers && (tags ?? largerThan ?? smallerThan) !== undefined) {
    const why = 'ExpiredObjectDeleteMarker cannot be specified with Tags or Object Size.';
    throw refuse('InvalidRequest', why);
  }
  if (aborts(parsed) && tags !== undefined) throw abortWith('Tags');
  if (aborts(parsed) && (largerThan ?? smallerThan) !== undefined) throw abortWith('Object Size');
  return parsed;
}

/**
 * A bucket has one storage class, that of its policy, so there is nothing to move its objects to. What is
 * well formed is refused for its class, as a write that names it is.
 */
function refuseTransitions(rule: XmlElement): void {
  const current = children(rule, 'Transition');
  const noncurrent = children(rule, 'NoncurrentVersionTransition');
  for (const transition of [...current, ...noncurrent]) {
    const whens = current.includes(transition) ? ['Days', 'Date'] : ['NoncurrentDays'];
    onlyChildren(transition, [...whens, 'NewerNoncurrentVersions', 'StorageClass']);
    const wanted = requiredText(transition, 'StorageClass').trim();
    if (whens.filter((when) => child(transition, when) !== undefined).length !== 1) {
      throw malformed();
    }
    const why = 'The objects of this bucket have one storage class, that of its storage policy.';
    throw refuse('InvalidStorageClass', why, { StorageClassRequested: wanted });
  }
}

type Selection = Pick<LifecycleRule, 'form' | 'prefix' | 'tags' | 'largerThan' | 'smallerThan'>;

/** A rule has a prefix of its own, as old clients send it, or a filter. */
function parseSelection(rule: XmlElement): Selection {
  const filter = child(rule, 'Filter');
  const prefix = child(rule, 'Prefix');
  if ((filter === undefined) === (prefix === undefined)) throw malformed();
  if (filter === undefined) return { form: 'prefix', prefix: prefixOf(prefix!) };
  const terms = ['Prefix', 'Tag', 'ObjectSizeGreaterThan', 'ObjectSizeLessThan'];
  onlyChildren(filter, [...terms, 'And']);
  if (filter.children.length > 1) throw malformed();
  const and = child(filter, 'And');
  if (and === undefined) return { form: 'filter', ...parseTerms(filter) };
  onlyChildren(and, terms);
  if (and.children.length === 0) throw malformed();
  return { form: 'and', ...parseTerms(and) };
}

function parseTerms(parent: XmlElement): Omit<Selection, 'form'> {
  const prefix = child(parent, 'Prefix');
  const tags = children(parent, 'Tag');
  const largerThan = sizeOf(parent, 'ObjectSizeGreaterThan');
  const smallerThan = sizeOf(parent, 'ObjectSizeLessThan');
  if (largerThan !== undefined && smallerThan !== undefined && largerThan >= smallerThan) {
    throw refuse(
      'InvalidRequest',
      "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.",
    );
  }
  return {
    ...(prefix !== undefined && { prefix: prefixOf(prefix) }),
    ...(tags.length > 0 && { tags: tagsOf(tags) }),
    ...(largerThan !== undefined && { largerThan }),
    ...(smallerThan !== undefined && { smallerThan }),
  };
}

function prefixOf({ text, children: inner }: XmlElement): string {
  if (inner.length > 0) throw malformed();
  if (Buffer.byteLength(text) <= MAX_PREFIX_BYTES) return text;
  throw refuse('InvalidRequest', `The maximum size of a prefix is ${MAX_PREFIX_BYTES}.`);
}

function tagsOf(tags: readonly XmlElement[]): Tags {
  const pairs = tags.map((tag): [string, string] => {
    onlyChildren(tag, ['Key', 'Value']);
    return [requiredText(tag, 'Key'), requiredText(tag, 'Value')];
  });
  if (new Set(pairs.map(([key]) => key)).size < pairs.length) {
    throw refuse('InvalidRequest', 'Duplicate Tag Keys are not allowed.');
  }
  return checkTags(pairs, MAX_RULE_TAGS);
}

function sizeOf(parent: XmlElement, name: string): number | undefined {
  const text = textOf(parent, name)?.trim();
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw malformed();
  return Number(text);
}

function parseExpiration(
  expiration: XmlElement | undefined,
): Pick<LifecycleRule, 'expireDays' | 'expireMs' | 'expireMarkers'> {
  if (expiration === undefined) return {};
  onlyChildren(expiration, ['Days', 'Date', 'ExpiredObjectDeleteMarker']);
  const [what] = expiration.children;
  if (what === undefined || expiration.children.length > 1) throw malformed();
  if (what.name === 'ExpiredObjectDeleteMarker') {
    const wanted = what.text.trim();
    if (wanted === 'true') return { expireMarkers: true };
    throw wanted === 'false' ? noAction() : malformed();
  }
  if (what.name === 'Days') {
    const expireDays = daysOf(what.text);
    if (expireDays > 0) return { expireDays };
    throw invalid("'Days' for Expiration action must be a positive integer");
  }
  const expireMs = DATE.test(what.text.trim()) ? Date.parse(what.text.trim()) : Number.NaN;
  if (Number.isNaN(expireMs)) throw malformed();
  if (expireMs % DAY_MS !== 0) throw invalid("'Date' must be at midnight GMT");
  return { expireMs };
}

function parseAbort(abort: XmlElement | undefined): Pick<LifecycleRule, 'abortDays'> {
  if (abort === undefined) return {};
  onlyChildren(abort, ['DaysAfterInitiation']);
  const abortDays = daysOf(requiredText(abort, 'DaysAfterInitiation'));
  if (abortDays > 0) return { abortDays };
  throw invalid(
    "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer",
  );
}

function parseNoncurrent(
  noncurrent: XmlElement | undefined,
): Pick<LifecycleRule, 'noncurrentDays' | 'keptNoncurrent'> {
  if (noncurrent === undefined) return {};
  onlyChildren(noncurrent, ['NoncurrentDays', 'NewerNoncurrentVersions']);
  const noncurrentDays = daysOf(requiredText(noncurrent, 'NoncurrentDays'));
  if (noncurrentDays <= 0) {
    throw invalid(
      "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer",
    );
  }
  const kept = textOf(noncurrent, 'NewerNoncurrentVersions');
  if (kept === undefined) return { noncurrentDays };
  const keptNoncurrent = daysOf(kept);
  if (keptNoncurrent > 0 && keptNoncurrent <= MAX_KEPT) return { noncurrentDays, keptNoncurrent };
  throw invalid(
    `'NewerNoncurrentVersions' for NoncurrentVersionExpiration action must be between 1 and ${MAX_KEPT}`,
  );
}

function daysOf(text: string): number {
  const days = /^-?\d{1,10}$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (Number.isNaN(days) || days > MAX_DAYS) throw malformed();
  return days;
}

function malformed() {
  return refuse('MalformedXML');
}

function invalid(message: string) {
  return refuse('InvalidArgument', message);
}

function noAction() {
  return refuse('InvalidRequest', 'At least one action needs to be specified in a rule.');
}

function abortWith(what: string) {
  const why = `AbortIncompleteMultipartUpload cannot be specified with ${what}.`;
  return refuse('InvalidRequest', why);
}

export function ruleXml(rule: LifecycleRule): string {
  const { id, enabled, abortDays, expireMarkers } = rule;
  return element(
    'Rule',
    leaf('ID', id) +
      selectionXml(rule) +
      leaf('Status', enabled ? 'Enabled' : 'Disabled') +
      (expires(rule) || expireMarkers ? element('Expiration', endXml(rule)) : '') +
      noncurrentXml(rule) +
      (abortDays === undefined
        ? ''
        : element('AbortIncompleteMultipartUpload', leaf('DaysAfterInitiation', abortDays))),
  );
}

function selectionXml({ form, prefix, tags, largerThan, smallerThan }: LifecycleRule): string {
  if (form === 'prefix') return leaf('Prefix', prefix);
  const tagsXml = Object.entries(tags ?? {}).map(([key, value]) =>
    element('Tag', leaf('Key', key) + leaf('Value', value)),
  );
  const terms =
    leaf('Prefix', prefix) +
    tagsXml.join('') +
    leaf('ObjectSizeGreaterThan', largerThan) +
    leaf('ObjectSizeLessThan', smallerThan);
  return element('Filter', form === 'and' ? element('And', terms) : terms);
}

function noncurrentXml({ noncurrentDays, keptNoncurrent }: LifecycleRule): string {
  if (noncurrentDays === undefined) return '';
  const days = leaf('NoncurrentDays', noncurrentDays);
  const kept = leaf('NewerNoncurrentVersions', keptNoncurrent);
  return element('NoncurrentVersionExpiration', days + kept);
}

function endXml({ expireDays, expireMs, expireMarkers }: LifecycleRule): string {
  if (expireMarkers) return leaf('ExpiredObjectDeleteMarker', true);
  return expireMs === undefined ? leaf('Days', expireDays) : leaf('Date', isoDate(expireMs * 1000));
}
