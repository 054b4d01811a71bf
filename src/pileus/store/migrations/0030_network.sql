-- Networks, subnets, ports and their addresses, routers, floating IPs, security groups.
CREATE TABLE networks (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  project_id TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL, admin_state_up BIGINT NOT NULL, shared BIGINT NOT NULL,
  external BIGINT NOT NULL, is_default BIGINT NOT NULL, port_security_enabled BIGINT NOT NULL, mtu BIGINT NOT NULL, dns_domain TEXT NOT NULL,
  network_type TEXT NOT NULL, physical_network TEXT, segmentation_id BIGINT, availability_zone_hints TEXT NOT NULL, tags TEXT NOT NULL
);
CREATE INDEX networks_project ON networks (project_id);
CREATE INDEX networks_segment ON networks (network_type, segmentation_id);

CREATE TABLE subnets (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  project_id TEXT NOT NULL, network_id TEXT NOT NULL REFERENCES networks (id), name TEXT NOT NULL, description TEXT NOT NULL, cidr TEXT NOT NULL,
  ip_version BIGINT NOT NULL, gateway_ip TEXT, enable_dhcp BIGINT NOT NULL, allocation_pools TEXT NOT NULL, dns_nameservers TEXT NOT NULL,
  host_routes TEXT NOT NULL, ipv6_ra_mode TEXT, ipv6_address_mode TEXT, service_types TEXT NOT NULL, dns_publish_fixed_ip BIGINT NOT NULL,
  tags TEXT NOT NULL
);
CREATE INDEX subnets_project ON subnets (project_id);
CREATE INDEX subnets_network ON subnets (network_id);

CREATE TABLE ports (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  project_id TEXT NOT NULL, network_id TEXT NOT NULL REFERENCES networks (id), name TEXT NOT NULL, description TEXT NOT NULL,
  admin_state_up BIGINT NOT NULL, status TEXT NOT NULL, mac_address TEXT NOT NULL, fixed_ips TEXT NOT NULL, device_id TEXT NOT NULL,
  device_owner TEXT NOT NULL, security_groups TEXT NOT NULL, allowed_address_pairs TEXT NOT NULL, extra_dhcp_opts TEXT NOT NULL,
  port_security_enabled BIGINT NOT NULL, host TEXT, vnic_type TEXT NOT NULL, profile TEXT NOT NULL, dns_name TEXT NOT NULL,
  created_by_compute BIGINT NOT NULL, tags TEXT NOT NULL
);
CREATE INDEX ports_project ON ports (project_id);
CREATE UNIQUE INDEX ports_mac ON ports (network_id, mac_address);
CREATE INDEX ports_device ON ports (device_id);
CREATE INDEX ports_owner ON ports (device_owner, network_id);
CREATE INDEX ports_host ON ports (host, network_id);

-- Each address in use: what makes it unique. `place` is its distance from the subnet's first address (NULL beyond 2^62).
CREATE TABLE addresses (
  subnet_id TEXT NOT NULL REFERENCES subnets (id), ip_address TEXT NOT NULL, place BIGINT, port_id TEXT NOT NULL REFERENCES ports (id),
  network_id TEXT NOT NULL, PRIMARY KEY (subnet_id, ip_address)
);
CREATE INDEX addresses_place ON addresses (subnet_id, place);
CREATE INDEX addresses_port ON addresses (port_id);
CREATE INDEX addresses_ip ON addresses (ip_address);

-- Below `place` no address of the subnet's pools is free: where the search begins.
CREATE TABLE address_cursors (subnet_id TEXT PRIMARY KEY REFERENCES subnets (id), place BIGINT NOT NULL);

CREATE TABLE routers (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  project_id TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL, admin_state_up BIGINT NOT NULL, routes TEXT NOT NULL,
  gateway_network_id TEXT, gateway_port_id TEXT, gateway_ips TEXT NOT NULL, enable_snat BIGINT NOT NULL,
  availability_zone_hints TEXT NOT NULL, tags TEXT NOT NULL
);
CREATE INDEX routers_project ON routers (project_id);
CREATE INDEX routers_gateway ON routers (gateway_network_id);

CREATE TABLE floating_ips (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  project_id TEXT NOT NULL, description TEXT NOT NULL, floating_network_id TEXT NOT NULL, floating_ip_address TEXT NOT NULL,
  external_port_id TEXT NOT NULL, port_id TEXT, fixed_ip_address TEXT, router_id TEXT, status TEXT NOT NULL, dns_name TEXT NOT NULL,
  dns_domain TEXT NOT NULL, tags TEXT NOT NULL
);
CREATE INDEX floating_ips_project ON floating_ips (project_id);
CREATE INDEX floating_ips_port ON floating_ips (port_id);
CREATE INDEX floating_ips_router ON floating_ips (router_id);
CREATE UNIQUE INDEX floating_ips_address ON floating_ips (floating_network_id, floating_ip_address);

CREATE TABLE security_groups (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  project_id TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL, stateful BIGINT NOT NULL, is_default BIGINT NOT NULL, tags TEXT NOT NULL
);
CREATE INDEX security_groups_project ON security_groups (project_id, name);
CREATE UNIQUE INDEX security_groups_default ON security_groups (project_id) WHERE is_default = 1;

CREATE TABLE security_group_rules (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  project_id TEXT NOT NULL, security_group_id TEXT NOT NULL REFERENCES security_groups (id), description TEXT NOT NULL, direction TEXT NOT NULL,
  ethertype TEXT NOT NULL, protocol TEXT, port_range_min BIGINT, port_range_max BIGINT, remote_ip_prefix TEXT, remote_group_id TEXT
);
CREATE INDEX security_group_rules_project ON security_group_rules (project_id);
CREATE INDEX security_group_rules_group ON security_group_rules (security_group_id);
CREATE INDEX security_group_rules_remote ON security_group_rules (remote_group_id);

CREATE TABLE port_security_groups (
  port_id TEXT NOT NULL REFERENCES ports (id), security_group_id TEXT NOT NULL REFERENCES security_groups (id), PRIMARY KEY (security_group_id, port_id)
);
CREATE INDEX port_security_groups_port ON port_security_groups (port_id);

CREATE TABLE network_rbac_policies (
  id TEXT PRIMARY KEY, created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, generation BIGINT NOT NULL,
  project_id TEXT NOT NULL, object_id TEXT NOT NULL REFERENCES networks (id), target_project TEXT NOT NULL, action TEXT NOT NULL,
  object_type TEXT NOT NULL
);
CREATE UNIQUE INDEX network_rbac_policies_grant ON network_rbac_policies (object_id, target_project, action);

-- Tags again, for filters; each resource's row has them too.
CREATE TABLE network_tags (resource_id TEXT NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (resource_id, tag));
CREATE INDEX network_tags_tag ON network_tags (tag);
