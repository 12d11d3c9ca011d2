// A host that signs in: what it keeps, whom it asks, and what both generations of the client are made to do.
import { createInterface } from 'node:readline';

const REDIRECT = 'http://localhost:49152/callback';
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** A stream that ends with a revocation is not opened anew: its own sign-in would overwrite the one of the next call. */
export const reconnectionOptions = {
  maxRetries: 0,
  initialReconnectionDelay: 1000,
  maxReconnectionDelay: 1000,
  reconnectionDelayGrowFactor: 1,
};

/** Asks whoever runs this program to do something; what they answer. Standard output carries nothing else. */
export async function ask(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
  return JSON.parse((await lines.next()).value);
}

/** An OAuthClientProvider of either generation, in memory; `kept` is what it has been given to keep. */
export function makeProvider(documentUrl) {
  const kept = { links: [] };
  return {
    kept,
    redirectUrl: REDIRECT,
    clientMetadataUrl: documentUrl ?? undefined,
    clientMetadata: { client_name: 'TypeScript host', redirect_uris: [REDIRECT], token_endpoint_auth_method: 'none' },
    state: () => (kept.state = crypto.randomUUID()),
    clientInformation: () => kept.client,
    saveClientInformation: (client) => void (kept.client = client),
    tokens: () => kept.tokens,
    saveTokens: (tokens) => void (kept.tokens = tokens),
    redirectToAuthorization: (link) => void kept.links.push(String(link)),
    saveCodeVerifier: (verifier) => void (kept.verifier = verifier),
    codeVerifier: () => kept.verifier,
    invalidateCredentials: (scope) => {
      if (scope === 'all' || scope === 'client') delete kept.client;
      if (scope === 'all' || scope === 'tokens') delete kept.tokens;
    },
  };
}

/**
 * Signs in, works, refreshes, asks for more, and signs in again after a revocation.
 *
 * `makeClient()` gives an unconnected client and `makeTransport(provider)` its transport; `finish(transport, parameters)`
 * hands over the callback's parameters. As hosts do, a sign-in is followed by a new connection.
 */
export async function signInAndWork({ provider, makeClient, makeTransport, finish, UnauthorizedError }) {
  const { kept } = provider;
  let client, transport;
  const connect = async () => {
    client = makeClient();
    transport = makeTransport(provider);
    await client.connect(transport);
  };
  const follow = async () => {
    const { callback } = await ask({ open: kept.links.at(-1) });
    const { searchParams } = new URL(callback);
    if (searchParams.get('state') !== kept.state) throw new Error('another state came back');
    await finish(transport, searchParams);
    await client.close();
    await connect();
  };
  const attempt = async (work) => {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof UnauthorizedError)) throw error;
      await follow();
      return work();
    }
  };
  const repos = () => client.callTool({ name: 'mogplex_list_repos', arguments: {} });
  const cancel = () => client.callTool({ name: 'mogplex_cancel_run', arguments: { runId: 'no-such-run' } });
  const state = () => ({ links: kept.links.length, scope: kept.tokens.scope, ...kept.tokens });

  await connect().catch((error) => {
    if (!(error instanceof UnauthorizedError)) throw error;
    return follow();
  });
  const report = { clientId: kept.client.client_id, link: kept.links[0] };
  report.signedIn = { answer: await repos(), ...state() };

  kept.tokens = { ...kept.tokens, access_token: 'mgo_at_one_that_has_expired' };
  report.refreshed = { answer: await repos(), ...state() };

  report.more = await attempt(cancel).then((answer) => ({ answer }), (error) => ({ refused: error.message }));
  if (report.more.refused) {
    await ask({ tick: ['tools:read', 'agents:run'] });
    report.more.answer = await cancel();
  }
  Object.assign(report.more, state());

  await ask({ revoke: true });
  report.revoked = { answer: await attempt(repos), ...state() };
  await client.close();
  await ask({ report });
  process.exit(0);
}

/** The job: {url, document, mode}. */
export const readJob = () => ask({ job: true });
