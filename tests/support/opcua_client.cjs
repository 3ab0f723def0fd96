// A client that is not of the same making as the server: node-opcua. One JSON line of arguments, one JSON line for each thing seen.
const modules = process.argv[2] + "/node_modules/";
const {
  AttributeIds, DataType, MessageSecurityMode, OPCUAClient, SecurityPolicy, UserTokenType, constructEventFilter,
  resolveNodeId,
} = require(modules + "node-opcua-client");
const { OPCUACertificateManager } = require(modules + "node-opcua-certificate-manager");

const wanted = JSON.parse(process.argv[3]);
const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const plain = (value) => JSON.parse(JSON.stringify(value));

async function main() {
  const manager = new OPCUACertificateManager({ rootFolder: wanted.pki, automaticallyAcceptUnknownCertificate: true });
  await manager.initialize();
  const client = OPCUAClient.create({
    applicationUri: wanted.uri, applicationName: "client", endpointMustExist: false,
    securityMode: MessageSecurityMode[wanted.mode], securityPolicy: SecurityPolicy[wanted.policy],
    certificateFile: wanted.certificate, privateKeyFile: wanted.key, clientCertificateManager: manager,
    connectionStrategy: { maxRetry: 0 }, keepSessionAlive: false, transportTimeout: 60000,
  });
  await client.connect(wanted.url);
  const user = wanted.user
    ? { type: UserTokenType.UserName, userName: wanted.user, password: wanted.password }
    : { type: UserTokenType.Anonymous };
  const session = await client.createSession(user);
  say({ connected: true });
  const namespaces = await session.readNamespaceArray();
  const vision = namespaces.indexOf("http://opcfoundation.org/UA/MachineVision");
  if (wanted.list) await list(session, vision);
  if (wanted.events) await events(session, vision);
  await session.close();
  await client.disconnect();
}

async function list(session, vision) {
  const structure = async (number, fields) => ({
    dataType: DataType.ExtensionObject,
    value: await session.constructExtensionObject(resolveNodeId(`ns=${vision};i=${number}`), fields),
  });
  const uint = (value) => ({ dataType: DataType.UInt32, value });
  for (let start = 0, complete = false; !complete; ) {
    const answer = await session.call({
      objectId: "ns=1;s=VisionSystem.ResultManagement",
      methodId: "ns=1;s=VisionSystem.ResultManagement.GetResultListFiltered",
      inputArguments: [
        { dataType: DataType.Int32, value: 0 },
        await structure(3015, { id: wanted.list }),
        await structure(3004, { id: "" }), await structure(3002, { id: "" }), await structure(3013, { id: "" }),
        await structure(3008, { id: "" }), await structure(3008, { id: "" }), await structure(3003, { id: "" }),
        await structure(3016, { id: "" }),
        uint(100), uint(start), { dataType: DataType.Int32, value: 0 },
      ],
    });
    if (answer.statusCode.isNotGood()) throw new Error(answer.statusCode.name);
    const [isComplete, count, handle, results, error] = answer.outputArguments.map((argument) => argument.value);
    say({ page: Array.from(results || [], plain), count, complete: isComplete, error });
    complete = isComplete;
    start += count;
    const released = await session.call({
      objectId: "ns=1;s=VisionSystem.ResultManagement",
      methodId: "ns=1;s=VisionSystem.ResultManagement.ReleaseResultHandle",
      inputArguments: [uint(handle)],
    });
    if (released.outputArguments[0].value !== 0) throw new Error("handle not released");
  }
}

async function events(session, vision) {
  const subscription = await session.createSubscription2({
    requestedPublishingInterval: 50, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 10,
    maxNotificationsPerPublish: 1000, publishingEnabled: true, priority: 1,
  });
  const names = ["EventType", "Message", ...["ResultId", "PartId", "MeasId", "JobId", "ResultState", "ResultContent",
    "InternalRecipeId", "IsSimulated"].map((name) => `${vision}:${name}`)];
  const item = await subscription.monitor(
    { nodeId: "ns=1;s=VisionSystem", attributeId: AttributeIds.EventNotifier },
    { samplingInterval: 0, queueSize: 10000, discardOldest: true, filter: constructEventFilter(names) }, 2);
  let left = wanted.events;
  const done = new Promise((resolve) => item.on("changed", (values) => {
    if (values[0].value.toString() !== `ns=${vision};i=1024`) return;
    say({ event: Object.fromEntries(names.map((name, index) => [name.replace(/^\d+:/, ""), plain(values[index].value)])) });
    if (--left === 0) resolve();
  }));
  say({ listening: true });
  await done;
  await subscription.terminate();
}

main().then(() => process.exit(0), (error) => {
  process.stderr.write(String(error.stack) + "\n");
  say({ failed: String(error.message || error) });
  process.exit(1);
});
