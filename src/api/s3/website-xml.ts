/** WebsiteConfiguration between XML and what the store keeps. */
import { refuse } from './errors.ts';
import type { Redirection, RoutingRule, Website } from './website-rules.ts';
import { element, leaf } from './xml.ts';
import {
  child,
  children,
  onlyChildren,
  requiredText,
  textOf,
  type XmlElement,
} from './xml-reader.ts';

const MAX_RULES = 50;

/** @throws S3Error MalformedXML, InvalidArgument, InvalidRequest */
export function websiteOfXml(root: XmlElement): Website {
  onlyChildren(root, ['RedirectAllRequestsTo', 'IndexDocument', 'ErrorDocument', 'RoutingRules']);
  const all = child(root, 'RedirectAllRequestsTo');
  if (all === undefined) return pagesOf(root);
  if (root.children.length > 1) {
    throw refuse(
      'InvalidArgument',
      'RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.',
    );
  }
  onlyChildren(all, ['HostName', 'Protocol']);
  const host = requiredText(all, 'HostName').trim();
  if (host === '') throw refuse('MalformedXML');
  return { all: { host: checkHost(host), ...protocolOf(all) }, rules: [] };
}

function pagesOf(root: XmlElement): Website {
  const [index, error] = [child(root, 'IndexDocument'), child(root, 'ErrorDocument')];
  if (index === undefined) {
    throw refuse(
      'InvalidArgument',
      'A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty',
    );
  }
  onlyChildren(index, ['Suffix']);
  const suffix = requiredText(index, 'Suffix');
  if (suffix === '' || suffix.includes('/')) {
    throw refuse('InvalidArgument', 'The IndexDocument Suffix is not well formed', {
      ArgumentName: 'IndexDocument',
      ArgumentValue: suffix,
    });
  }
  const rules = child(root, 'RoutingRules');
  return {
    index: suffix,
    ...(error !== undefined && { error: errorKey(error) }),
    rules: rules === undefined ? [] : rulesOf(rules),
  };
}

function errorKey(error: XmlElement): string {
  onlyChildren(error, ['Key']);
  const key = requiredText(error, 'Key');
  if (key !== '') return key;
  throw refuse('InvalidArgument', 'The ErrorDocument Key is not well formed', {
    ArgumentName: 'ErrorDocument',
    ArgumentValue: key,
  });
}

function rulesOf(rules: XmlElement): RoutingRule[] {
  onlyChildren(rules, ['RoutingRule']);
  const { length } = rules.children;
  if (length === 0) throw refuse('MalformedXML');
  if (length > MAX_RULES) {
    throw refuse(
      'InvalidRequest',
      `${length} routing rules provided, the number of routing rules in a website configuration is limited to ${MAX_RULES}.`,
    );
  }
  return children(rules, 'RoutingRule').map((rule): RoutingRule => {
    onlyChildren(rule, ['Condition', 'Redirect']);
    const redirect = child(rule, 'Redirect');
    if (redirect === undefined || redirect.children.length === 0) throw refuse('MalformedXML');
    return { ...conditionOf(child(rule, 'Condition')), ...redirectOf(redirect) };
  });
}

function conditionOf(condition: XmlElement | undefined): Pick<RoutingRule, 'prefix' | 'error'> {
  if (condition === undefined) return {};
  onlyChildren(condition, ['KeyPrefixEquals', 'HttpErrorCodeReturnedEquals']);
  const prefix = textOf(condition, 'KeyPrefixEquals');
  const error = codeOf(condition, 'HttpErrorCodeReturnedEquals', /^[45]\d\d$/, {
    what: 'error',
    valid: '4XX or 5XX',
  });
  if (prefix === undefined && error === undefined) {
    throw refuse(
      'InvalidRequest',
      "Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't be present.",
    );
  }
  return { ...(prefix !== undefined && { prefix }), ...(error !== undefined && { error }) };
}

function redirectOf(redirect: XmlElement): Omit<RoutingRule, 'prefix' | 'error'> {
  onlyChildren(redirect, [
    ...['HostName', 'HttpRedirectCode', 'Protocol', 'ReplaceKeyPrefixWith', 'ReplaceKeyWith'],
  ]);
  const host = textOf(redirect, 'HostName')?.trim();
  const replaceKey = textOf(redirect, 'ReplaceKeyWith');
  const replacePrefix = textOf(redirect, 'ReplaceKeyPrefixWith');
  if (replaceKey !== undefined && replacePrefix !== undefined) {
    throw refuse(
      'InvalidRequest',
      'You can only define ReplaceKeyPrefix or ReplaceKey but not both.',
    );
  }
  const code = codeOf(redirect, 'HttpRedirectCode', /^3(?!00)\d\d$/, {
    what: 'redirect',
    valid: '3XX except 300',
  });
  return {
    ...(host !== undefined && host !== '' && { host: checkHost(host) }),
    ...protocolOf(redirect),
    ...(code !== undefined && { code }),
    ...(replaceKey !== undefined && { replaceKey }),
    ...(replacePrefix !== undefined && { replacePrefix }),
  };
}

function codeOf(
  parent: XmlElement,
  name: string,
  form: RegExp,
  { what, valid }: { readonly what: string; readonly valid: string },
): number | undefined {
  const text = textOf(parent, name)?.trim();
  if (text === undefined) return undefined;
  if (form.test(text)) return Number(text);
  throw refuse(
    'InvalidRequest',
    `The provided HTTP ${what} code (${text}) is not valid. Valid codes are ${valid}.`,
  );
}

function protocolOf(parent: XmlElement): Pick<Redirection, 'protocol'> {
  const protocol = textOf(parent, 'Protocol')?.trim();
  if (protocol === undefined) return {};
  if (protocol === 'http' || protocol === 'https') return { protocol };
  throw refuse(
    'InvalidRequest',
    'Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.',
  );
}

/** It becomes part of a header: a name, perhaps a port, perhaps a path behind it. */
function checkHost(host: string): string {
  if (/^[\w.:[\]-]+(\/[\w./~%+-]*)?$/.test(host)) return host;
  throw refuse('InvalidRequest', 'The host name of a redirection is not valid.');
}

export function websiteXml({ all, index, error, rules }: Website): string {
  if (all !== undefined) return element('RedirectAllRequestsTo', redirectionXml(all));
  return (
    element('IndexDocument', leaf('Suffix', index)) +
    (error === undefined ? '' : element('ErrorDocument', leaf('Key', error))) +
    (rules.length === 0 ? '' : element('RoutingRules', rules.map(ruleXml).join('')))
  );
}

function redirectionXml({ host, protocol }: Redirection): string {
  return leaf('HostName', host) + leaf('Protocol', protocol);
}

function ruleXml(rule: RoutingRule): string {
  const { prefix, error, code, replaceKey, replacePrefix } = rule;
  const condition = leaf('KeyPrefixEquals', prefix) + leaf('HttpErrorCodeReturnedEquals', error);
  const redirect =
    redirectionXml(rule) +
    leaf('HttpRedirectCode', code) +
    leaf('ReplaceKeyPrefixWith', replacePrefix) +
    leaf('ReplaceKeyWith', replaceKey);
  return element(
    'RoutingRule',
    (condition === '' ? '' : element('Condition', condition)) + element('Redirect', redirect),
  );
}
