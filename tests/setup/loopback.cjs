// Loaded before emulate, which listens on every address of the machine: whatever listens, listens on loopback.
const net = require("node:net");

const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (port, ...rest) {
  const done = rest.find((each) => typeof each === "function");
  return listen.call(this, { host: "127.0.0.1", port: Number(port) }, done);
};
