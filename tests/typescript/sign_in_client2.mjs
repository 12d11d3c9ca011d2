// @modelcontextprotocol/client 2.x signs in, in either era: `mode` is its version negotiation.
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { makeProvider, readJob, reconnectionOptions, signInAndWork } from './signing_in.mjs';

const { url, document, mode } = await readJob();
await signInAndWork({
  provider: makeProvider(document),
  makeClient: () => new Client({ name: 'tests', version: '1' }, { versionNegotiation: { mode } }),
  makeTransport: (authProvider) => new StreamableHTTPClientTransport(new URL(url), { authProvider, reconnectionOptions }),
  finish: (transport, parameters) => transport.finishAuth(parameters),
  UnauthorizedError,
});
