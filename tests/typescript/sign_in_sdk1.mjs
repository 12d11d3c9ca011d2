// @modelcontextprotocol/sdk 1.x signs in: the client inside most hosts of today.
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { makeProvider, readJob, reconnectionOptions, signInAndWork } from './signing_in.mjs';

const { url, document } = await readJob();
await signInAndWork({
  provider: makeProvider(document),
  makeClient: () => new Client({ name: 'tests', version: '1' }),
  makeTransport: (authProvider) => new StreamableHTTPClientTransport(new URL(url), { authProvider, reconnectionOptions }),
  finish: (transport, parameters) => transport.finishAuth(parameters.get('code')),
  UnauthorizedError,
});
