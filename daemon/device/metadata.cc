// SPDX-License-Identifier: MIT
#include "device/metadata.h"

#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "device/metadata_http.h"
#include "device/metadata_parse.h"
#include "device/text.h"

namespace mn::device {

namespace {

constexpr char kService[] = "http://169.254.169.254";  // the same link-local address in all three
constexpr char kAzureAssetTag[] = "7783-7084-3265-9085-8269-3286-77";
constexpr char kAzurePath[] = "/metadata/instance/network?api-version=2021-02-01";
constexpr char kGcpPath[] =
    "/computeMetadata/v1/instance/network-interfaces/?recursive=true&alt=json";
constexpr char kAwsToken[] = "/latest/api/token";
constexpr char kAwsMacs[] = "/latest/meta-data/network/interfaces/macs/";
constexpr char kByHand[] = "; or give the address yourself: address = A.B.C.D/LEN in [nic]";

const char* name_of(Cloud cloud) {
  constexpr const char* kNames[] = {"no cloud", "Azure", "AWS", "GCP"};
  return kNames[static_cast<size_t>(cloud)];
}

std::string dmi(const SysRoot& root, const char* file) {
  return std::string(trim(read_text(root.sys + "/class/dmi/id/" + file).value_or("")));
}

std::string status_text(long status) {
  constexpr std::pair<long, const char*> kWords[] = {{400, " (bad request)"},
                                                     {401, " (unauthorized)"},
                                                     {403, " (forbidden)"},
                                                     {404, " (not found)"},
                                                     {429, " (too many requests)"},
                                                     {500, " (internal error)"},
                                                     {503, " (not available)"},
                                                     {301, " (sends us elsewhere)"},
                                                     {302, " (sends us elsewhere)"},
                                                     {307, " (sends us elsewhere)"},
                                                     {410, " (gone)"}};
  for (const auto& [number, words] : kWords) {
    if (number == status) return std::to_string(status) + words;
  }
  return std::to_string(status);
}

// The questions to one service, and the error lines about them.
class Service {
 public:
  Service(const SysRoot& root, Cloud cloud, const Mac& mac)
      : base_(root.metadata_url.empty() ? kService : root.metadata_url), cloud_(cloud), mac_(mac) {
    while (base_.ends_with('/')) base_.pop_back();
  }

  // Any status.
  Result<HttpAnswer> ask(const char* method, const std::string& path,
                         std::vector<std::string> headers) {
    asked_ = std::string(method) + " " + base_ + path;
    auto answer = http_ask({.method = method, .url = base_ + path, .headers = std::move(headers)});
    if (!answer) return about(answer.error(), "is the service reachable from this host");
    return answer;
  }

  // The body, of status 200.
  Result<std::string> ask_for_text(const char* method, const std::string& path,
                                   std::vector<std::string> headers) {
    auto answer = ask(method, path, std::move(headers));
    if (!answer) return Error{answer.error()};
    if (answer.value().status != 200) return refused(answer.value().status);
    return std::move(answer.value().body);
  }

  Error refused(long status) const {
    return about("answered " + status_text(status), "does this machine have metadata switched off");
  }

  Error not_understood(const std::string& what) const {
    return about("answered with " + what, "is it this machine's NIC");
  }

  // "metadata of AWS for NIC 02:..: asked GET http://..: <what came>; <question>?; or ..."
  Error about(const std::string& what_came, const char* question) const {
    return Error{std::string("metadata of ") + name_of(cloud_) + " for NIC " + format_mac(mac_) +
                 ": asked " + asked_ + ": " + what_came + "; " + question + "?" + kByHand};
  }

 private:
  std::string base_;
  Cloud cloud_;
  Mac mac_;
  std::string asked_;
};

Result<MetadataNic> ask_azure(Service* service, const Mac& mac) {
  auto body = service->ask_for_text("GET", kAzurePath, {"Metadata: true"});
  if (!body) return Error{body.error()};
  auto nic = parse_azure(body.value(), mac);
  if (!nic) return service->not_understood(nic.error());
  return nic;
}

Result<MetadataNic> ask_gcp(Service* service, const Mac& mac) {
  auto answer = service->ask("GET", kGcpPath, {"Metadata-Flavor: Google"});
  if (!answer) return Error{answer.error()};
  if (answer.value().status != 200) return service->refused(answer.value().status);
  // How a client is to tell the service from whoever else answers at its address.
  if (answer.value().flavor != "Google") {
    return service->not_understood("no header \"Metadata-Flavor: Google\"");
  }
  auto nic = parse_gcp(answer.value().body, mac);
  if (!nic) return service->not_understood(nic.error());
  return nic;
}

Result<MetadataNic> ask_aws(Service* service, const Mac& mac) {
  auto token =
      service->ask_for_text("PUT", kAwsToken, {"X-aws-ec2-metadata-token-ttl-seconds: 60"});
  if (!token) return Error{token.error()};
  // It becomes a header: a stranger's line break would become another one.
  const std::string word(trim(token.value()));
  if (word.empty() || word.size() > 1024 || printable(word, word.size()) != word) {
    return service->not_understood("\"" + printable(word) + "\", which is no token");
  }
  const std::vector<std::string> headers = {"X-aws-ec2-metadata-token: " + word};
  const std::string folder = kAwsMacs + format_mac(mac) + "/";
  auto addresses = service->ask("GET", folder + "local-ipv4s", headers);
  if (!addresses) return Error{addresses.error()};
  if (addresses.value().status == 404) {
    auto listing = service->ask_for_text("GET", kAwsMacs, headers);
    if (!listing) return Error{listing.error()};
    return service->not_understood("no NIC with this MAC (it has " +
                                   list_aws_macs(listing.value()) + ")");
  }
  if (addresses.value().status != 200) return service->refused(addresses.value().status);
  auto subnet = service->ask_for_text("GET", folder + "subnet-ipv4-cidr-block", headers);
  if (!subnet) return Error{subnet.error()};
  auto nic = parse_aws(addresses.value().body, subnet.value());
  if (!nic) return service->not_understood(nic.error());
  return nic;
}

}  // namespace

Cloud detect_cloud(const SysRoot& root) {
  // Azure's machines look like any Hyper-V guest but for this number.
  if (dmi(root, "chassis_asset_tag") == kAzureAssetTag) return Cloud::kAzure;
  if (dmi(root, "sys_vendor") == "Amazon EC2") return Cloud::kAws;
  // Machines of the Xen kind.
  if (dmi(root, "bios_version").find("amazon") != std::string::npos) return Cloud::kAws;
  if (dmi(root, "product_name") == "Google Compute Engine") return Cloud::kGcp;
  return Cloud::kNone;
}

Result<MetadataNic> ask_metadata(const SysRoot& root, const Mac& mac) {
  const Cloud cloud = detect_cloud(root);
  Service service(root, cloud, mac);
  switch (cloud) {
    case Cloud::kAzure:
      return ask_azure(&service, mac);
    case Cloud::kAws:
      return ask_aws(&service, mac);
    case Cloud::kGcp:
      return ask_gcp(&service, mac);
    case Cloud::kNone:
      break;
  }
  return Error{
      "address = metadata works on Azure, AWS and GCP, but this machine is none of them "
      "(" +
      root.sys + "/class/dmi/id has sys_vendor \"" + printable(dmi(root, "sys_vendor")) +
      "\", product_name \"" + printable(dmi(root, "product_name")) + "\", chassis_asset_tag \"" +
      printable(dmi(root, "chassis_asset_tag")) + "\")" + kByHand};
}

}  // namespace mn::device
